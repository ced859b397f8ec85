import { release } from 'node:os';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseModule, type Module } from '../../src/api/module/module.ts';
import { jobs, modules, pods, type Pod } from '../../src/controller/observe/cluster/resources.ts';
import { listAll } from '../../src/controller/runtime/api/list.ts';
import { inspectImage } from '../../src/signer/inspect-image.ts';
import { describeWith } from '../support/programs.ts';
import {
  describePods,
  installChart,
  installedOperatorPrograms,
  installOverlay,
  operatorNamespace,
  startPreparedCluster,
  uninstallChart,
  untilHolds,
  type PreparedCluster,
} from './installed-operator.ts';
import { moduleManifest } from './module-manifest.ts';

const jobType = 'kmm.node.kubernetes.io/job-type';

describeWith(installedOperatorPrograms, 'the operator on a real node', () => {
  let cluster: PreparedCluster;

  beforeAll(async () => {
    cluster = await startPreparedCluster(['native']);
    await cluster.startNode('native');
  }, 900_000);
  afterAll(() => cluster?.[Symbol.asyncDispose](), 60_000);

  async function moduleNamed(name: string): Promise<Module> {
    return parseModule(await cluster.client.get(modules, { namespace: 'default', name }));
  }

  async function podsIn(namespace: string): Promise<Pod[]> {
    return listAll(cluster.client, pods, { namespace });
  }

  describe.each([
    ['chart', 'buildah', installChart, uninstallChart],
    ['overlay', 'kaniko', installOverlay, undefined],
  ] as const)('installed by the %s', (way, builder, install, uninstall) => {
    const name = `driver-${way}`;
    const repository = `example/${name}`;

    beforeAll(() => install(cluster, release(), builder), 200_000);
    afterAll(() => uninstall?.(cluster), 60_000);

    it('runs as pods of its own image that pod security "restricted" admits', async () => {
      const all = await podsIn(operatorNamespace);
      const running = all.map(({ metadata, spec, status }) => ({
        component: metadata.labels?.['app.kubernetes.io/component'],
        node: spec?.nodeName,
        phase: status?.phase,
        restarts: status?.containerStatuses?.[0]?.restartCount,
      }));
      const common = { node: 'native', phase: 'Running', restarts: 0 };
      expect(running).toHaveLength(2);
      expect(running).toEqual(
        expect.arrayContaining(['controller', 'webhook'].map((component) => ({ component, ...common }))),
      );
    });

    it('refuses a Module that it could not act on, by its webhook', async () => {
      const wrong = moduleManifest({ name, registry: cluster.registry, repository, node: 'native' }).replace(
        /regexp: .*/,
        "regexp: '['",
      );
      await expect(cluster.kubectl(['apply', '--filename=-'], wrong)).rejects.toThrow(
        /vmodule\.kb\.io.*denied the request/,
      );
    });

    it(`builds a Module with ${builder} and signs it, in real pods`, async () => {
      await cluster.kubectl(
        ['apply', '--filename=-'],
        moduleManifest({ name, registry: cluster.registry, repository, node: 'native' }),
      );
      const kernels = await untilHolds(cluster, async () => {
        const { status } = await moduleNamed(name);
        expect(['Ready', 'Failed']).toContain(status?.kernels?.[0]?.phase);
        return status?.kernels;
      });
      const said = kernels?.[0]?.phase === 'Failed' ? await describePods(cluster) : '';
      const kernel = { kernelVersion: release(), phase: 'Ready', reason: 'Signed' };
      expect({ said, kernels }).toEqual({ said: '', kernels: [expect.objectContaining(kernel)] });
      const image = { repository: cluster.repository(repository), selector: { tag: release() } };
      const { worst, platforms } = await inspectImage({ image, certificates: [cluster.key.x509] });
      expect(worst).toBe('trusted');
      expect(platforms[0]?.modules).toMatchObject([{ path: `/opt/lib/modules/${release()}/hello.ko` }]);
    }, 500_000);

    it('takes one Job each, of which the one that signs is admitted by pod security "restricted"', async () => {
      const labelSelector = `kmm.node.kubernetes.io/module.name=${name}`;
      const made = await listAll(cluster.client, jobs, { namespace: 'default', labelSelector });
      const kinds = made.map(({ metadata, status }) => `${metadata.labels?.[jobType]} ${status?.succeeded}`);
      expect(kinds.toSorted()).toEqual(['build 1', 'sign 1']);
      const sign = made.find(({ metadata }) => metadata.labels?.[jobType] === 'sign');
      const metadata = { name: 'tried', namespace: operatorNamespace };
      const pod = { apiVersion: 'v1', kind: 'Pod', metadata, spec: sign?.spec?.template.spec };
      const tried = ['create', '--dry-run=server', '--filename=-'];
      expect(await cluster.kubectl(tried, JSON.stringify(pod))).toContain('pod/tried created');
    });

    it('deletes it at once when told to, whatever its pods have unloaded', async () => {
      await cluster.kubectl(['annotate', 'module', name, 'kmm.sigs.x-k8s.io/skip-unload=true']);
      await cluster.kubectl(['delete', 'module', name, '--timeout=240s']);
      await untilHolds(cluster, async () => expect(await podsIn('default')).toEqual([]));
    }, 500_000);
  });
});
