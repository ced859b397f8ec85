import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { modules } from '../../../../src/controller/observe/cluster/resources.ts';
import { listAll } from '../../../../src/controller/runtime/api/list.ts';
import { events } from '../../../../src/controller/runtime/event-recorder.ts';
import { apiServerPrograms, startApiServer, type ApiServer } from '../../../support/api-server.ts';
import { describeWith } from '../../../support/programs.ts';
import { Cluster, startController, type RunningController } from './cluster.ts';
import { kernelKey, release } from './nodes-and-pods.ts';

const ready = 'kmm.node.kubernetes.io/drivers.a.ready';
const pluginReady = 'kmm.node.kubernetes.io/drivers.a.device-plugin-ready';
const versionReady = 'kmm.node.kubernetes.io/drivers.a.version.ready';
const twinReady = 'kmm.node.kubernetes.io/other.a.ready';
const wanted = 'kmm.node.kubernetes.io/version-module.drivers.a';
const loaderVersion = 'beta.kmm.node.kubernetes.io/version-module-loader.drivers.a';
const pluginVersion = 'beta.kmm.node.kubernetes.io/version-device-plugin.drivers.a';

describeWith(apiServerPrograms, 'the controller of node labels', () => {
  let api: ApiServer;
  let cluster: Cluster;
  beforeAll(async () => {
    api = await startApiServer();
    cluster = new Cluster(await api.client());
    await cluster.prepare('drivers', 'other');
    await cluster.createModule('drivers', 'a', { pool: 'a' });
    await cluster.createModule('other', 'a', { pool: 'a' });
  });
  afterAll(() => api[Symbol.asyncDispose]());

  /** Waits until a node has these labels, and the controller knows it and rests. */
  async function expectLabels(
    { caches, rest }: RunningController,
    name: string,
    labels: Record<string, string>,
  ): Promise<void> {
    await vi.waitFor(() => expect(caches.nodes.get({ name })?.labels).toEqual(labels), { timeout: 20_000 });
    await rest();
    expect(await cluster.labelsOf(name)).toEqual(labels);
  }

  async function eventsOf(name: string): Promise<string[]> {
    const found = await listAll(cluster.client, events, { namespace: 'default' });
    return found
      .filter(({ regarding }) => regarding['name'] === name && regarding['kind'] === 'Node')
      .map(({ type, reason, note }) => `${type} ${reason}: ${note}`)
      .toSorted();
  }

  it('sets all labels of a node with one patch, and says that the module is loaded', async () => {
    const others = { pool: 'a', 'kmm.node.kubernetes.io/a.ready': '', 'example.org/other': 'x' };
    await cluster.createNode('one', { ...others, 'kmm.node.kubernetes.io/drivers.gone.ready': '' });
    await cluster.createReadyPod('one', { version: 'v1' });
    await cluster.createReadyPod('one', { role: 'device-plugin' });
    await using running = await startController(api);
    const state = { [kernelKey]: release, [ready]: '', [pluginReady]: '', [versionReady]: 'v1' };
    await expectLabels(running, 'one', { ...others, ...state });
    expect(running.patches()).toBe(1);
    await running.events.flush();
    // What became of a module whose label only was there is not known.
    expect(await eventsOf('one')).toEqual(['Normal ModuleLoaded: Module drivers/a loaded into the kernel']);
  });

  it('says that a module is unloaded once its loader has confirmed it, and not when the loader begins to end', async () => {
    await cluster.createNode('seven');
    const pod = await cluster.createReadyPod('seven', { mode: 'load' });
    await using running = await startController(api);
    const loaded = 'Normal ModuleLoaded: Module drivers/a loaded into the kernel';
    const unloaded = 'Normal ModuleUnloaded: Module drivers/a unloaded from the kernel';
    await expectLabels(running, 'seven', { [kernelKey]: release, [ready]: '' });
    await cluster.deletePod(pod);
    await expectLabels(running, 'seven', { [kernelKey]: release });
    await running.events.flush();
    expect(await eventsOf('seven')).toEqual([loaded]);
    await cluster.endContainer(pod, 0);
    await vi.waitFor(async () => expect(await eventsOf('seven')).toEqual([loaded, unloaded]), {
      timeout: 20_000,
    });
  });

  it('says nothing when a loader ends with a failure, until one that only unloads has confirmed it', async () => {
    await cluster.createNode('eight');
    const pod = await cluster.createReadyPod('eight', { module: 'b', mode: 'load' });
    await using running = await startController(api);
    await expectLabels(running, 'eight', { [kernelKey]: release });
    await cluster.deletePod(pod);
    await cluster.endContainer(pod, 1);
    await vi.waitFor(() => expect(running.caches.pods.get(pod)?.terminated?.exitCode).toBe(1), {
      timeout: 20_000,
    });
    await running.rest();
    await running.events.flush();
    expect(await eventsOf('eight')).toEqual([]);
    await cluster.removePod(pod);
    await cluster.createReadyPod('eight', { module: 'b', mode: 'unload' });
    await vi.waitFor(
      async () => {
        const unloaded = 'Normal ModuleUnloaded: Module drivers/b unloaded from the kernel';
        expect(await eventsOf('eight')).toEqual([unloaded]);
      },
      { timeout: 20_000 },
    );
  });

  it('follows the pods of a Module, and touches nothing of its twin', async () => {
    await cluster.createNode('two');
    const pod = await cluster.createPod('two', {});
    const twin = await cluster.createPod('two', { namespace: 'other' });
    await using running = await startController(api);
    await expectLabels(running, 'two', { [kernelKey]: release });
    await cluster.setReady(twin, 'True');
    await expectLabels(running, 'two', { [kernelKey]: release, [twinReady]: '' });
    await cluster.setReady(pod, 'True');
    await expectLabels(running, 'two', { [kernelKey]: release, [twinReady]: '', [ready]: '' });
    await cluster.setReady(pod, 'False');
    await expectLabels(running, 'two', { [kernelKey]: release, [twinReady]: '' });
    await cluster.setReady(pod, 'True');
    await expectLabels(running, 'two', { [kernelKey]: release, [twinReady]: '', [ready]: '' });
    await cluster.removePod(pod);
    await expectLabels(running, 'two', { [kernelKey]: release, [twinReady]: '' });
    expect(running.patches()).toBe(6);
  });

  it('does nothing on a heartbeat, nor for a label that is not ours', async () => {
    await cluster.createNode('three');
    await using running = await startController(api);
    await expectLabels(running, 'three', { [kernelKey]: release });
    const seen = vi.fn<() => void>();
    running.caches.nodes.onEvent(({ type }) => {
      if (type === 'updated') seen();
    });
    const before = [running.patches(), await running.enqueued()];
    await cluster.heartbeat('three');
    await cluster.label('three', { 'example.org/other': 'x' });
    await vi.waitFor(() => expect(seen).toHaveBeenCalledTimes(2), { timeout: 20_000 });
    expect([running.patches(), await running.enqueued()]).toEqual(before);
  });

  it('sets a label again that somebody removed, and removes one that somebody set', async () => {
    await cluster.createNode('four');
    await using running = await startController(api);
    await expectLabels(running, 'four', { [kernelKey]: release });
    await cluster.label('four', { [kernelKey]: null, [ready]: '' });
    await vi.waitFor(() => expect(running.patches()).toBe(2), { timeout: 20_000 });
    await expectLabels(running, 'four', { [kernelKey]: release });
    expect(running.patches()).toBe(2);
  });

  it('brings a version in order, and takes it away in order', async () => {
    await cluster.createNode('five', { [wanted]: 'v1' });
    await using running = await startController(api);
    const state = { [kernelKey]: release };
    const versions = { [loaderVersion]: 'v1', [pluginVersion]: 'v1' };
    await expectLabels(running, 'five', { ...state, [wanted]: 'v1', ...versions });
    const pod = await cluster.createReadyPod('five', { role: 'device-plugin', version: 'v1' });
    await expectLabels(running, 'five', { ...state, [wanted]: 'v1', ...versions, [pluginReady]: '' });
    await cluster.label('five', { [wanted]: null });
    await expectLabels(running, 'five', { ...state, [loaderVersion]: 'v1', [pluginReady]: '' });
    await cluster.setReady(pod, 'False');
    await expectLabels(running, 'five', { ...state, [loaderVersion]: 'v1' });
    await cluster.removePod(pod);
    await expectLabels(running, 'five', state);
    expect(running.patches()).toBe(6);
  });

  it('sets labels when the Module becomes known after its pods', async () => {
    await cluster.createNode('six', { pool: 'b' });
    await cluster.createReadyPod('six', { module: 'late' });
    await using running = await startController(api);
    await expectLabels(running, 'six', { pool: 'b', [kernelKey]: release });
    await cluster.createModule('drivers', 'late', { pool: 'b' });
    const lateReady = 'kmm.node.kubernetes.io/drivers.late.ready';
    await expectLabels(running, 'six', { pool: 'b', [kernelKey]: release, [lateReady]: '' });
    await cluster.client.delete(modules, { namespace: 'drivers', name: 'late' });
    await vi.waitFor(() => expect(running.caches.modules.size).toBe(2), { timeout: 20_000 });
    await expectLabels(running, 'six', { pool: 'b', [kernelKey]: release, [lateReady]: '' });
    expect(running.patches()).toBe(2);
  });
});
