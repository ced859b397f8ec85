import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import {
  modules,
  nodeModulesConfigs,
  nodes,
  pods,
  type Pod,
} from '../../src/controller/observe/cluster/resources.ts';
import { pathOf } from '../../src/controller/runtime/api/resource.ts';
import { eventually } from '../cluster/wait-for.ts';
import { readyMadeByVendorOperator } from '../controller/module/vendor-modules.ts';
import type { TestNode } from '../support/cluster/kubelet.ts';
import { kernelRelease } from '../support/debian-kernel.ts';
import { describeWith } from '../support/programs.ts';
import { operatorWorldPrograms, startOperatorWorld, type OperatorWorld } from './operator-world.ts';

const namespace = 'default';
const kernelLabel = 'kmm.node.kubernetes.io/kernel-version.full';

/** The entries of half a NodeModulesConfig. */
function modulesOf(half: unknown): readonly { readonly name: string; readonly config: unknown }[] {
  return (half as { modules: { name: string; config: unknown }[] }).modules;
}

function uidsOf(found: readonly Pod[]): string[] {
  return found.map(({ metadata }) => metadata.uid ?? '').toSorted();
}

describeWith(operatorWorldPrograms, 'coming from KMM', () => {
  let world: OperatorWorld;
  let workers: readonly TestNode[];

  beforeAll(async () => {
    world = await startOperatorWorld();
    workers = await Promise.all(
      ['worker-0', 'worker-1'].map((name) => world.kubelet.addNode({ name, kernel: kernelRelease })),
    );
  });
  afterAll(async () => {
    await world?.[Symbol.asyncDispose]();
  });

  const loaders = (name: string): Promise<Pod[]> => world.pods(name, 'module-loader');
  /** What was unloaded, on any node. */
  const unloads = (): unknown[] =>
    workers.flatMap(({ modprobeCalls }) => modprobeCalls.filter(({ action }) => action === 'unload'));

  async function loaded(name: string): Promise<void> {
    await world.eventually(name, ({ status }) => {
      expect(status?.conditions).toContainEqual(
        expect.objectContaining({ type: 'Ready', status: 'True', reason: 'Loaded' }),
      );
      const counters = { nodesMatchingSelectorNumber: 2, desiredNumber: 2, availableNumber: 2 };
      expect(status?.moduleLoader).toEqual(counters);
    });
  }

  it('1.x keeps its loaders running under another owner, without finalizers, and unloads nothing', async () => {
    const name = 'kmm-1';
    for (const worker of workers) {
      await world.client.patch(nodes, worker, { metadata: { labels: { [kernelLabel]: kernelRelease } } });
    }
    await world.applyManifest('kmm-1-module');
    const { metadata } = await world.client.get(modules, { namespace, name });
    await world.applyManifest('kmm-1-loader', (text) => text.replace('MODULE_UID', metadata.uid ?? ''));
    await eventually(async () => {
      const ready = (await loaders(name)).filter(({ status }) =>
        status?.conditions?.some(({ type, status: value }) => type === 'Ready' && value === 'True'),
      );
      expect(ready).toHaveLength(2);
    });
    const before = await loaders(name);
    const finalizers = before.flatMap((pod) => pod.metadata.finalizers ?? []);
    expect(finalizers).toEqual(Array(2).fill('kmm.node.kubernetes.io/node-labeler'));

    await world.startOperator();
    await eventually(async () => {
      const [daemonSet, ...others] = await world.daemonSets(name);
      expect(others).toEqual([]);
      expect(daemonSet?.metadata.name).not.toBe('kmm-1-43809c360a70a3d');
      expect(daemonSet?.status?.numberAvailable).toBe(2);
      const after = await loaders(name);
      expect(after.map((pod) => pod.metadata.ownerReferences?.[0]?.name)).toEqual(
        Array(2).fill(daemonSet?.metadata.name),
      );
      expect(after.flatMap((pod) => pod.metadata.finalizers ?? [])).toEqual([]);
    });
    await loaded(name);
    expect(uidsOf(await loaders(name))).toEqual(uidsOf(before));
    expect(unloads()).toEqual([]);
  });

  it('1.x has its loaders replaced node by node when what they should run changes', async () => {
    const name = 'kmm-1';
    const before = uidsOf(await loaders(name));
    await world.applyManifest('kmm-1-module', (text) => text.replace('}-1.0', '}-2.0'));
    await eventually(async () => {
      const after = await loaders(name);
      expect(after).toHaveLength(2);
      expect(uidsOf(after).filter((uid) => before.includes(uid))).toEqual([]);
    });
    await loaded(name);
    await eventually(async () => {
      const { status } = await world.client.get(nodeModulesConfigs, { name: 'worker-0' });
      const config = { containerImage: expect.stringMatching(/-2\.0$/) };
      expect(status).toMatchObject({ modules: [{ name, config }] });
    });
    await world.kubectl(['delete', 'module', name]);
    await eventually(async () => expect(await loaders(name)).toEqual([]));
  });

  it('loads a Module that the operator of a vendor generates, runs its device plugin, and tells that operator', async () => {
    const name = 'vendor';
    const { host } = world.registry;
    await world.kubectl(['create', 'serviceaccount', 'gpu-device-plugin']);
    const spec = readyMadeByVendorOperator(host, name);
    const { moduleLoader, devicePlugin } = spec;
    const [mapping] = moduleLoader.container.kernelMappings;
    const containerImage = `${host}/example/vendor-driver:\${KERNEL_FULL_VERSION}-1.0`;
    const modprobe = { ...moduleLoader.container.modprobe, firmwarePath: '' };
    const container = {
      ...moduleLoader.container,
      modprobe,
      kernelMappings: [{ ...mapping, containerImage }],
    };
    for (const { root } of workers) await mkdir(join(root, 'sys/class/drm'), { recursive: true });
    const image = `${host}/ubi:latest`;
    // Where this machine has no graphics card, /sys has no directory to mount that of one on.
    const [devices, classes] = devicePlugin.container.volumeMounts;
    const plugin = {
      ...devicePlugin.container,
      image,
      command: ['sh', '-c', 'exec sleep infinity'],
      volumeMounts: [devices, { ...classes, mountPath: '/sys/class/net' }],
    };
    const initContainer = { ...devicePlugin.initContainer, image, command: ['sh', '-c', ':'] };
    await world.client.request({
      method: 'POST',
      path: pathOf(modules, { namespace }),
      body: {
        apiVersion: 'kmm.sigs.x-k8s.io/v1beta1',
        kind: 'Module',
        metadata: { namespace, name, creationTimestamp: null },
        spec: {
          ...spec,
          moduleLoader: { ...moduleLoader, container },
          devicePlugin: { ...devicePlugin, container: plugin, initContainer },
          imageRepoSecret: { name: 'repo-pull-secret' },
          selector: { 'kubernetes.io/arch': 'amd64' },
        },
        status: { devicePlugin: {}, moduleLoader: {} },
      },
    });
    await loaded(name);
    await world.eventually(name, ({ status }) => {
      expect(status?.devicePlugin).toMatchObject({ desiredNumber: 2, availableNumber: 2 });
    });
    expect(workers.map((worker) => worker.loaded().has('hello'))).toEqual([true, true]);
    await eventually(async () => {
      const found = await world.client.get(nodeModulesConfigs, { name: 'worker-1' });
      expect(modulesOf(found.status)).toMatchObject([{ name, config: modulesOf(found.spec)[0]?.config }]);
    });
    await world.kubectl(['delete', 'module', name]);
    await eventually(async () => expect(await loaders(name)).toEqual([]));
  });

  it('2.x has its finalizers taken off, and its workers deleted', async () => {
    const name = 'kmm-2';
    const key = { namespace, name };
    const container = {
      modprobe: { moduleName: 'hello' },
      kernelMappings: [{ literal: '1.2.3', containerImage: 'r.example/x:1' }],
    };
    await world.client.create(modules, {
      metadata: { ...key, finalizers: ['kmm.node.kubernetes.io/module-finalizer'] },
      spec: { moduleLoader: { container }, selector: { none: 'such' } },
    });
    const labels = {
      'kmm.node.kubernetes.io/module.name': name,
      'kmm.node.kubernetes.io/worker-action': 'Load',
    };
    await world.client.create(pods, {
      metadata: {
        namespace,
        name: 'kmm-worker-worker-0-kmm-2',
        labels,
        finalizers: ['kmm.node.kubernetes.io/nodemodulesconfig-reconciler'],
      },
      // On no node: the scheduler of KMM's pods is the node's name.
      spec: { schedulerName: 'nobody', containers: [{ name: 'worker', image: 'r.example/worker:1' }] },
    });
    await eventually(async () => {
      const worker = world.client.get(pods, { namespace, name: 'kmm-worker-worker-0-kmm-2' });
      await expect(worker).rejects.toThrow('not found');
    });
    // One that is not being deleted keeps it: an administrator may go back to KMM.
    expect((await world.client.get(modules, key)).metadata.finalizers).toHaveLength(1);
    await world.kubectl(['delete', 'module', name, '--timeout=20s']);
  });
});
