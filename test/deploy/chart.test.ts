import { readdirSync, readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { isMap, parseDocument, type Pair, type YAMLMap } from 'yaml';
import { describeWith } from '../support/programs.ts';
import {
  chartDirectory,
  deployDirectory,
  nameOf,
  renderChart,
  renderOverlay,
  type Manifest,
} from './manifests.ts';

/** The same installation, once as an overlay and once as the chart's values. */
const installations = [
  { overlay: 'kubernetes', namespace: 'kmm-operator-system', settings: [] },
  { overlay: 'openshift', namespace: 'openshift-kmm', settings: ['--set=openshift.enabled=true'] },
  { overlay: 'cert-manager', namespace: 'kmm-operator-system', settings: ['--set=certManager.enabled=true'] },
  {
    overlay: 'cluster-wide-references',
    namespace: 'kmm-operator-system',
    settings: ['--set=references.clusterWide=true'],
  },
  { overlay: 'spoke', namespace: 'kmm-operator-system', settings: ['--set=mode=spoke'] },
  {
    overlay: 'spoke-openshift',
    namespace: 'openshift-kmm',
    settings: ['--set=mode=spoke,openshift.enabled=true'],
  },
  { overlay: 'hub', namespace: 'kmm-operator-hub', settings: ['--set=mode=hub'] },
  {
    overlay: 'hub-openshift',
    namespace: 'openshift-kmm-hub',
    settings: ['--set=mode=hub,openshift.enabled=true'],
  },
  {
    overlay: 'hub-cert-manager',
    namespace: 'kmm-operator-hub',
    settings: ['--set=mode=hub,certManager.enabled=true'],
  },
];

const isNamespace = ({ kind }: Manifest): boolean => kind === 'Namespace';
const isDefinition = ({ kind }: Manifest): boolean => kind === 'CustomResourceDefinition';

/** By name. Helm makes the namespace by itself, and it is not part of a chart. */
function byName(objects: Manifest[]): Record<string, Manifest> {
  const wanted = objects.filter((object) => !isNamespace(object));
  const named = Object.fromEntries(wanted.map((object) => [nameOf(object), withoutChecksum(object)]));
  expect(Object.keys(named)).toHaveLength(wanted.length);
  return named;
}

/** Helm's pods start anew with a new configuration; with kustomize that is left to the user. */
function withoutChecksum(object: Manifest): Manifest {
  return JSON.parse(JSON.stringify(object), (key, value: unknown) =>
    key === 'checksum/configuration' ? undefined : value,
  ) as Manifest;
}

/** Helm keeps definitions that are among its templates only if they say so. */
function withoutPolicy(objects: Manifest[]): Manifest[] {
  return JSON.parse(JSON.stringify(objects), (key, value: unknown) => {
    if (key !== 'annotations' || typeof value !== 'object' || value === null) return value;
    const others = Object.entries(value).filter(([name]) => name !== 'helm.sh/resource-policy');
    return others.length === 0 ? undefined : Object.fromEntries(others);
  }) as Manifest[];
}

describeWith(['kubectl', 'helm'], 'the Helm chart', () => {
  it('is held against every overlay', () => {
    // Those of Node Feature Discovery are added to another one, and held against the chart below.
    const overlays = readdirSync(`${deployDirectory}overlays`).filter((name) => !name.startsWith('nfd'));
    expect(installations.map(({ overlay }) => overlay).toSorted()).toEqual(overlays.toSorted());
  });

  it.each(installations)('installs what the overlay $overlay does', async (installation) => {
    const { overlay, namespace, settings } = installation;
    const chart = await renderChart(namespace, ...settings);
    const rendered = await renderOverlay(overlay);
    const [definitions, others] = [chart.filter(isDefinition), chart.filter((one) => !isDefinition(one))];
    expect(byName(others)).toEqual(byName(rendered.filter((one) => !isDefinition(one))));
    // Helm installs all that a chart has, whatever the values say.
    expect(byName(definitions)).toMatchObject(byName(rendered.filter(isDefinition)));
  });

  it('brings the definitions of every overlay, and no others', async () => {
    const rendered = await Promise.all([renderOverlay('kubernetes'), renderOverlay('hub')]);
    const chart = await renderChart('kmm-operator-system');
    expect(byName(chart.filter(isDefinition))).toEqual(byName(rendered.flat().filter(isDefinition)));
  });

  it.each([
    { overlay: 'nfd', settings: [] },
    { overlay: 'nfd-openshift', settings: ['--set=openshift.enabled=true'] },
  ])('adds what the overlay $overlay installs (npm run crds)', async ({ overlay, settings }) => {
    const namespace = 'kmm-operator-system';
    const without = new Set((await renderChart(namespace, ...settings)).map(nameOf));
    const chart = await renderChart(namespace, ...settings, '--set=nfd.enabled=true');
    const added = chart.filter((object) => !without.has(nameOf(object)));
    const rendered = await renderOverlay(overlay);
    expect(added.filter(isNamespace)).toEqual(rendered.filter(isNamespace));
    expect(byName(withoutPolicy(added))).toEqual(byName(rendered));
    expect(chart).toHaveLength(without.size + rendered.length);
  });

  it('gives the operator of Node Feature Discovery its images, and the secrets to pull with', async () => {
    const settings = 'image.repository=registry.example/kmm-sign,image.tag=v9,imagePullSecrets={pull}';
    const image = `registry.example/nfd@sha256:${'0'.repeat(64)}`;
    const chart = await renderChart('kmm-operator-system', `--set=nfd.enabled=true,nfd.image=${image},${settings}`);
    const deployment = chart.find(
      ({ kind, metadata }) => kind === 'Deployment' && metadata.name === 'nfd-controller-manager',
    );
    expect(deployment?.spec?.template?.spec).toMatchObject({
      imagePullSecrets: [{ name: 'pull' }],
      containers: [
        {
          image: 'registry.example/kmm-sign:v9',
          env: expect.arrayContaining([{ name: 'RELATED_IMAGE_NODE_FEATURE_DISCOVERY', value: image }]) as unknown,
        },
      ],
    });
  });

  it('pulls the pods that look at nodes with the same secrets as the operator', async () => {
    const chart = await renderChart('kmm-operator-system', '--set=imagePullSecrets={pull}');
    const account = chart.find(({ metadata }) => metadata.name === 'kmm-operator-module-loader');
    expect(account).toMatchObject({ kind: 'ServiceAccount', imagePullSecrets: [{ name: 'pull' }] });
  });

  it('leaves out what is not wanted', async () => {
    const objects = await renderChart(
      'kmm-operator-system',
      '--set=webhook.enabled=false,networkPolicies.enabled=false,userRoles.create=false,nfd.enabled=true',
    );
    const names = objects.map(nameOf).join('\n');
    expect(names).toContain('kmm-operator-controller');
    expect(names).not.toMatch(/webhook|NetworkPolicy|module-admin/);
  });

  it.each([
    'webhok.enabled=true',
    'controller.replicas=two',
    'image.tag=a:b',
    'references.clusterwide=true',
    'mode=spokes',
    'mode=hub,references.clusterWide=true',
    'mode=hub,images.loader=registry.example/loader',
    'mode=hub,references.namespaces={drivers}',
    'mode=spoke,images.build=registry.example/build',
    'mode=spoke,images.sign=registry.example/sign',
    'mode=hub,workAgent.namespace=agents',
    'workAgent.serviceAccountName=agent',
    'configuration.hub.maxConcurrentJobs=3',
    'mode=spoke,configuration.hub.maxConcurrentJobs=3',
  ])('refuses %s', async (setting) => {
    await expect(renderChart('kmm-operator-system', '--set', setting)).rejects.toThrow('schema');
  });

  it.each([
    'mode=hub,configuration.hub.maxConcurrentJobs=3,images.build=registry.example/build',
    'mode=spoke,workAgent.serviceAccountName=edge-work-sa,references.namespaces={drivers}',
  ])('takes %s', async (setting) => {
    expect(await renderChart('kmm-operator-system', '--set', setting)).not.toEqual([]);
  });

  it('gives the Modules of a spoke to the work agent that the values name', async () => {
    const agent = 'workAgent.namespace=agents,workAgent.serviceAccountName=edge-work-sa';
    const objects = await renderChart('kmm-operator-system', `--set=mode=spoke,${agent}`);
    const binding = objects.find(({ metadata }) => metadata.name === 'klusterlet-kmm');
    expect(binding).toMatchObject({
      subjects: [{ kind: 'ServiceAccount', namespace: 'agents', name: 'edge-work-sa' }],
    });
  });

  it('says of every value what it is', () => {
    const { contents } = parseDocument(readFileSync(`${chartDirectory}/values.yaml`, 'utf8'));
    if (!isMap(contents)) throw new Error('values.yaml is no map');
    expect(undocumented(contents)).toEqual([]);
  });
});

/** Values whose meaning is theirs to say: what is below belongs to Kubernetes. */
const ofKubernetes = new Set(['resources', 'affinity', 'tolerations', 'metricsFrom']);

function undocumented(map: YAMLMap, path = ''): string[] {
  return map.items.flatMap((pair: Pair, index) => {
    const { key, value } = pair as Pair<{ value: string; commentBefore?: string }>;
    const name = `${path}${key.value}`;
    // The comment before the first value of a map belongs to the map.
    const comment = key.commentBefore ?? (index === 0 ? map.commentBefore : undefined);
    const inner = isMap(value) && !ofKubernetes.has(key.value) ? undocumented(value, `${name}.`) : [];
    return [...(comment === undefined ? [name] : []), ...inner];
  });
}
