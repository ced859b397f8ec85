import { afterAll, beforeAll, expect, it } from 'vitest';
import { parseModule, type Module } from '../../src/api/module/module.ts';
import {
  daemonSets,
  modules,
  nodes,
  pods,
  type Pod,
} from '../../src/controller/observe/cluster/resources.ts';
import { listAll } from '../../src/controller/runtime/api/list.ts';
import { builtModule } from '../end-to-end/build-tools.ts';
import { kernelRelease } from '../support/debian-kernel.ts';
import type { NativeNode } from '../support/node/native-node.ts';
import { describeWith } from '../support/programs.ts';
import { pushDriver } from './driver-image.ts';
import {
  installedOperatorPrograms,
  installOverlay,
  operatorNamespace,
  startPreparedCluster,
  untilHolds,
  type PreparedCluster,
} from './installed-operator.ts';

const name = 'driver';
const worker = 'worker';
const readyLabel = `kmm.node.kubernetes.io/default.${name}.ready`;
const limit = 500_000;

describeWith(installedOperatorPrograms, 'a Module on a real node', () => {
  let cluster: PreparedCluster;
  let node: NativeNode;

  beforeAll(async () => {
    cluster = await startPreparedCluster(['native', worker], { withBuilders: false });
    await cluster.startNode('native');
    await installOverlay(cluster, kernelRelease, 'buildah', { loader: { deletionTimeout: '20m' } });
    node = await cluster.startNode(worker);
    await cluster.kubectl(['taint', 'node', worker, 'chaos=true:PreferNoSchedule']);
    await pushDriver(cluster.repository('example/driver'), await builtModule());
    await cluster.kubectl(['apply', '--filename=-'], manifest(cluster.registry));
    await untilCondition('Ready', 'True', 'Loaded');
  }, 900_000);
  afterAll(() => cluster?.[Symbol.asyncDispose](), 180_000);

  async function module(): Promise<Module> {
    return parseModule(await cluster.client.get(modules, { namespace: 'default', name }));
  }

  async function untilCondition(type: string, status: string, reason: string): Promise<void> {
    await untilHolds(cluster, async () => {
      expect((await module()).status?.conditions).toContainEqual(
        expect.objectContaining({ type, status, reason }),
      );
    });
  }

  async function podsOf(role: string): Promise<Pod[]> {
    const labelSelector = `kmm.node.kubernetes.io/module.name=${name},kmm.node.kubernetes.io/role=${role}`;
    return listAll(cluster.client, pods, { namespace: 'default', labelSelector });
  }

  /** What must be the same as long as nothing was started anew. */
  async function running(): Promise<unknown> {
    const all = [...(await podsOf('module-loader')), ...(await podsOf('device-plugin'))];
    return all.map(({ metadata, status }) => ({
      pod: metadata.uid,
      containers: status?.containerStatuses?.map(({ containerID }) => containerID),
    }));
  }

  it(
    'goes on while its image is gone, says so, and says that all is well when it is back',
    async () => {
      const before = await running();
      const repository = cluster.repository('example/driver');
      const { digest } = await repository.resolve({ tag: kernelRelease });
      await repository.deleteManifest(digest);
      await untilCondition('Ready', 'False', 'ImageNotFound');
      expect(await running()).toEqual(before);
      await pushDriver(repository, await builtModule());
      await untilCondition('Ready', 'True', 'Loaded');
      expect(await running()).toEqual(before);
    },
    limit,
  );

  it(
    'goes on when the kubelet starts anew',
    async () => {
      const before = await running();
      await node.stopKubelet();
      await node.startKubelet();
      // The new kubelet serves, and has looked at the pods.
      const [loader] = await podsOf('module-loader');
      await untilHolds(cluster, () =>
        cluster.kubectl(['exec', loader?.metadata.name ?? '', '--', 'test', '-d', '/run/kmm-loader/ready/.']),
      );
      await untilCondition('Ready', 'True', 'Loaded');
      expect(await running()).toEqual(before);
    },
    limit,
  );

  it(
    'is loaded again when its node is back, and none is missing while the node is away',
    async () => {
      await node.stopKubelet();
      await cluster.kubectl(['delete', 'node', worker]);
      await untilCondition('Ready', 'True', 'NoNodes');
      await node.startKubelet();
      await untilCondition('Ready', 'True', 'Loaded');
      await untilHolds(cluster, async () => {
        const { metadata } = await cluster.client.get(nodes, { name: worker });
        expect(metadata.labels).toMatchObject({ [readyLabel]: '' });
      });
    },
    limit,
  );

  it(
    'is unloaded only after its device plugin, though the operator is killed between the two',
    async () => {
      await cluster.kubectl(['delete', 'module', name, '--wait=false']);
      await untilHolds(cluster, async () => {
        const [plugin] = await podsOf('device-plugin');
        expect(plugin?.metadata.deletionTimestamp).toBeDefined();
      });
      const operator = 'app.kubernetes.io/component=controller';
      const killed = ['pods', `--namespace=${operatorNamespace}`, `--selector=${operator}`];
      await cluster.kubectl(['delete', ...killed, '--grace-period=0', '--force']);
      const [loader] = await listAll(cluster.client, daemonSets, { namespace: 'default' });
      expect(loader?.spec?.template.metadata?.labels).toMatchObject({
        'kmm.node.kubernetes.io/loader-mode': 'load',
      });
      expect(await podsOf('device-plugin')).toHaveLength(1);
      await cluster.kubectl(['wait', 'module', name, '--for=delete', '--timeout=300s']);
      await untilHolds(cluster, async () => {
        expect([...(await podsOf('device-plugin')), ...(await podsOf('module-loader'))]).toEqual([]);
      });
    },
    limit,
  );
});

/**
 * A Module with a device plugin that takes seconds to end. This machine's kernel may have no modules: modprobe is
 * told to do nothing.
 */
function manifest(registry: string): string {
  return `apiVersion: kmm.sigs.x-k8s.io/v1beta1
kind: Module
metadata: { name: ${name}, namespace: default }
spec:
  moduleLoader:
    container:
      modprobe: { rawArgs: { load: [--version], unload: [--version] } }
      registryTLS: { insecure: true }
      kernelMappings:
        - regexp: '^.+$'
          containerImage: ${registry}/example/driver:${kernelRelease}
  devicePlugin:
    container:
      image: ${registry}/ubi:latest
      command: [/bin/busybox, sh, -c, "trap '/bin/busybox sleep 15; exit' TERM; while :; do /bin/busybox sleep 1; done"]
  imageRepoSecret: { name: repo-pull-secret }
  selector: { kubernetes.io/hostname: ${worker} }
`;
}
