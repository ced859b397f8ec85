import { afterAll, beforeAll, expect, it } from 'vitest';
import { apiServerPrograms } from '../../support/api-server.ts';
import type { Definition } from '../../support/custom-resources.ts';
import { describeWith } from '../../support/programs.ts';
import { waitFor } from '../../support/wait-for.ts';
import { documentExample } from '../../end-to-end/document-examples.ts';
import { nfdNamespace, startNfdWorld, type NfdWorld, type Observed } from './nfd-world.ts';

const documented = documentExample('openshift-4.12/3.3.1-node-feature-discovery.yaml');
const documentedRule = documentExample('openshift-4.12/3.6-node-feature-rule.yaml');
const discovery = 'nodefeaturediscovery/nfd-instance';
const patience = { timeout: 40_000, interval: 100 };

/** OpenShift's, which takes anything here. */
const constraints = {
  metadata: { name: 'securitycontextconstraints.security.openshift.io' },
  spec: {
    group: 'security.openshift.io',
    scope: 'Cluster',
    names: {
      kind: 'SecurityContextConstraints',
      listKind: 'SecurityContextConstraintsList',
      plural: 'securitycontextconstraints',
      singular: 'securitycontextconstraint',
    },
    versions: [
      {
        name: 'v1',
        served: true,
        storage: true,
        schema: { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } },
      },
    ],
  },
} as Definition;

function conditionOf(object: Observed | undefined, type: string) {
  return object?.status?.conditions?.find((one) => one.type === type);
}

const eventually = (look: () => Promise<void>): Promise<void> => waitFor(look, patience);

describeWith([...apiServerPrograms, 'kubectl'], 'kmm-operator nfd on OpenShift', () => {
  let world: NfdWorld;

  beforeAll(async () => {
    world = await startNfdWorld({ overlay: 'nfd-openshift', more: [constraints] });
    await world.start();
  });
  afterAll(() => world?.[Symbol.asyncDispose]());

  const condition = (name: string, type: string) =>
    world.get(name).then((object) => conditionOf(object, type));
  const account = `--as=system:serviceaccount:${nfdNamespace}:nfd-controller-manager`;
  /** What kubectl says, which also fails for a no. */
  const can = (...what: string[]): Promise<string> =>
    world.kubectl(['auth', 'can-i', ...what, account]).catch((error: { stdout: string }) => error.stdout);
  const patch = (name: string, change: object) =>
    world.kubectl([
      'patch',
      name,
      `--namespace=${nfdNamespace}`,
      '--type=merge',
      '--patch',
      JSON.stringify(change),
    ]);

  it('deploys what the resource of the documents asks for, applied as it stands', async () => {
    expect(await world.apply(documented)).toContain('serverside-applied');
    await eventually(async () => {
      expect(await condition(discovery, 'Available')).toMatchObject({
        status: 'False',
        reason: 'PodsNotAvailable',
      });
    });
    const names = [
      'deployment/nfd-master',
      'deployment/nfd-gc',
      'daemonset/nfd-worker',
      'configmap/nfd-worker',
      'serviceaccount/nfd-worker',
      'rolebinding/nfd-worker',
    ];
    for (const name of names) {
      expect((await world.get(name))?.metadata['ownerReferences']).toMatchObject([
        { kind: 'NodeFeatureDiscovery', name: 'nfd-instance', controller: true },
      ]);
    }
    const configuration = await world.kubectl([
      'get',
      'configmap/nfd-worker',
      `--namespace=${nfdNamespace}`,
      '--output=jsonpath={.data.nfd-worker-conf}',
    ]);
    const { spec } = documented as { spec: { workerConfig: { configData: string } } };
    expect(configuration).toBe(spec.workerConfig.configData);
    const constraint = await world.kubectl([
      'get',
      'securitycontextconstraints/nfd-worker',
      '--output=jsonpath={.users}',
    ]);
    expect(constraint).toBe(`["system:serviceaccount:${nfdNamespace}:nfd-worker"]`);
  });

  it('says which fields of the documents have no effect, and runs an image that knows the flags', async () => {
    const object = await world.get(discovery);
    expect(object?.status?.image).toMatch(/^registry\.k8s\.io\/nfd\/node-feature-discovery:v0\.19/);
    const ignored = conditionOf(object, 'FieldsIgnored');
    expect(ignored).toMatchObject({ status: 'True', reason: 'WithoutEffect' });
    expect(ignored?.message).toContain(
      'spec.operand.image: registry.redhat.io/openshift4/ose-node-feature-discovery:v4.12 is not used',
    );
    expect(ignored?.message).toContain('the rule "more.kernel.features" says matchOn');
  });

  it('binds nothing but the roles of the programs', async () => {
    expect(await can('bind', 'clusterroles/nfd-master')).toBe('yes\n');
    expect(await can('bind', 'clusterroles/cluster-admin')).toBe('no\n');
    expect(await can('create', 'clusterrolebindings')).toBe('no\n');
    expect(await can('get', 'secrets', `--namespace=${nfdNamespace}`)).toBe('no\n');
    expect(await can('patch', 'nodes')).toBe('no\n');
  });

  it('runs the topology updater once that is asked for, in the spelling of the documents, and removes it again', async () => {
    await patch(discovery, { spec: { topologyupdater: true } });
    await eventually(async () => expect(await world.get('daemonset/nfd-topology-updater')).toBeDefined());
    expect(await world.get('clusterrolebinding/nfd-topology-updater')).toBeDefined();
    await patch(discovery, { spec: { topologyupdater: false } });
    await eventually(async () => {
      expect(await world.get('daemonset/nfd-topology-updater')).toBeUndefined();
      expect(await world.get('clusterrolebinding/nfd-topology-updater')).toBeUndefined();
    });
  });

  it('passes settings to the programs', async () => {
    const spec = {
      instance: 'gpu',
      extraLabelNs: ['vendor.example', 'other.example'],
      labelWhiteList: '^pci-',
      enableTaints: true,
      operand: {
        workerPriorityClassName: 'system-node-critical',
        workerNodeSelector: { accelerated: 'yes' },
        workerTolerations: [{ key: 'gpu', operator: 'Exists', effect: 'NoExecute' }],
        servicePort: 12000,
      },
      resourceLabels: ['vendor.example/one'],
    };
    await patch(discovery, { spec });
    await eventually(async () => {
      const master = await world.get('deployment/nfd-master');
      expect(JSON.stringify(master?.spec)).toContain(
        '"args":["-instance=gpu","-extra-label-ns=vendor.example,other.example","-label-whitelist=^pci-","-enable-taints"]',
      );
    });
    await eventually(async () => {
      expect((await world.get('daemonset/nfd-worker'))?.spec).toMatchObject({
        template: {
          spec: {
            priorityClassName: 'system-node-critical',
            nodeSelector: { accelerated: 'yes' },
            tolerations: [
              { operator: 'Exists', effect: 'NoSchedule' },
              { key: 'gpu', operator: 'Exists', effect: 'NoExecute' },
            ],
          },
        },
      });
      const ignored = await condition(discovery, 'FieldsIgnored');
      expect(ignored?.message).toContain('spec.operand.servicePort');
      expect(ignored?.message).toContain('spec.resourceLabels');
    });
  });

  it('restores what others change or delete', async () => {
    await world.kubectl(['delete', 'daemonset/nfd-worker', `--namespace=${nfdNamespace}`]);
    await eventually(async () => expect(await world.get('daemonset/nfd-worker')).toBeDefined());
    await patch('configmap/nfd-worker', { data: { 'nfd-worker-conf': 'changed' } });
    await eventually(async () => {
      expect(JSON.stringify(await world.get('configmap/nfd-worker'))).not.toContain('"changed"');
    });
  });

  it.each([
    ['a white list that is not a regular expression', { labelWhiteList: 'a(' }, 'spec.labelWhiteList'],
    [
      'a configuration that is not YAML',
      { workerConfig: { configData: 'a: [' } },
      'spec.workerConfig.configData',
    ],
  ])('refuses %s, and leaves running what runs', async (_, change, path) => {
    await patch(discovery, { spec: change });
    await eventually(async () => {
      const degraded = await condition(discovery, 'Degraded');
      expect(degraded).toMatchObject({ status: 'True', reason: 'InvalidResource' });
      expect(degraded?.message).toContain(path);
    });
    expect(await world.get('deployment/nfd-master')).toBeDefined();
    await patch(discovery, { spec: { labelWhiteList: null, workerConfig: null } });
    await eventually(async () =>
      expect(await condition(discovery, 'Degraded')).toMatchObject({ status: 'False' }),
    );
  });

  it('has one resource per namespace deploy NFD: the oldest', async () => {
    const second = { ...documented, metadata: { name: 'another', namespace: nfdNamespace } };
    await world.apply(second);
    await eventually(async () => {
      const degraded = await condition('nodefeaturediscovery/another', 'Degraded');
      expect(degraded).toMatchObject({ status: 'True', reason: 'NotTheOnlyOne' });
      expect(degraded?.message).toContain('openshift-nfd/nfd-instance');
    });
    await world.kubectl(['delete', 'nodefeaturediscovery/another', `--namespace=${nfdNamespace}`]);
  });

  it('translates the rule of the documents, applied as it stands', async () => {
    await world.apply(documentedRule);
    const rule = 'nodefeaturerules.v1.nfd.openshift.io/example-rule';
    await eventually(async () => expect(await condition(rule, 'Ready')).toMatchObject({ status: 'True' }));
    const theirs = await world.get('nodefeaturerules.v1alpha1.nfd.k8s-sigs.io/example-rule');
    expect(theirs?.spec).toEqual((documentedRule as { spec: object }).spec);
    expect(theirs?.metadata['ownerReferences']).toMatchObject([
      { apiVersion: 'nfd.openshift.io/v1', name: 'example-rule' },
    ]);
    await world.kubectl(['delete', 'nodefeaturerules.v1alpha1.nfd.k8s-sigs.io/example-rule']);
    await eventually(async () => {
      expect(await world.get('nodefeaturerules.v1alpha1.nfd.k8s-sigs.io/example-rule')).toBeDefined();
    });
  });

  it('knows the NodeResourceTopology of the documents', async () => {
    const topology = documentExample('openshift-4.12/3.7.1-node-resource-topology.yaml');
    expect(await world.apply(topology)).toContain('serverside-applied');
  });

  it('leaves a rule of NFD alone that has the same name, and says so', async () => {
    const spec = { rules: [{ name: 'mine', labels: { mine: 'true' } }] };
    const metadata = { name: 'taken' };
    await world.apply({ apiVersion: 'nfd.k8s-sigs.io/v1alpha1', kind: 'NodeFeatureRule', metadata, spec });
    await world.apply({ ...documentedRule, metadata });
    await eventually(async () => {
      expect(await condition('nodefeaturerules.v1.nfd.openshift.io/taken', 'Ready')).toMatchObject({
        status: 'False',
        reason: 'NameTaken',
      });
    });
    expect((await world.get('nodefeaturerules.v1alpha1.nfd.k8s-sigs.io/taken'))?.spec).toEqual(spec);
  });

  it('says what is wrong with a rule that NFD does not take', async () => {
    const wrong = {
      rules: [
        {
          name: 'wrong',
          matchFeatures: [{ feature: 'pci.device', matchExpressions: { vendor: { op: 'Is' } } }],
        },
      ],
    };
    await world.apply({ ...documentedRule, metadata: { name: 'wrong' }, spec: wrong });
    await eventually(async () => {
      const ready = await condition('nodefeaturerules.v1.nfd.openshift.io/wrong', 'Ready');
      expect(ready).toMatchObject({ status: 'False', reason: 'InvalidRules' });
      expect(ready?.message).toContain('op');
    });
  });

  it('takes back the rights when the resource is deleted', async () => {
    await world.kubectl(['delete', discovery, `--namespace=${nfdNamespace}`]);
    expect(await world.get(discovery)).toBeUndefined();
    for (const name of ['nfd-master', 'nfd-gc', 'nfd-topology-updater']) {
      expect(await world.get(`clusterrolebinding/${name}`)).toBeUndefined();
    }
    expect(await world.get('securitycontextconstraints/nfd-worker')).toBeUndefined();
  });
});
