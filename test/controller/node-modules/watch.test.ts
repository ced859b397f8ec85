import { join } from 'node:path';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { modules } from '../../../src/controller/observe/cluster/resources.ts';
import { createTemporaryDirectory } from '../../../src/shared/temporary.ts';
import { apiServerPrograms } from '../../support/api-server.ts';
import { startProcess, type RunningProcess } from '../../support/processes.ts';
import { definitions } from '../../support/custom-resources.ts';
import { describeWith } from '../../support/programs.ts';
import { createNode, setNodeInfo } from '../module/cluster-objects.ts';
import { kernel, setLoader, startNodeModulesWorld, type NodeModulesWorld } from './node-modules-world.ts';

const waiting = { timeout: 30_000, interval: 50 };
const programs = [...apiServerPrograms, 'node-modules-watch'] as const;

describeWith(programs, 'a program with controller-runtime that watches NodeModulesConfigs', (paths) => {
  let world: NodeModulesWorld;
  beforeAll(async () => {
    world = await startNodeModulesWorld();
  });
  afterAll(async () => world?.[Symbol.asyncDispose]());

  const start = (log: string, kubeconfig: string): RunningProcess =>
    startProcess(paths['node-modules-watch'], [], { log, env: { KUBECONFIG: kubeconfig } });

  it('sees what a node has loaded: after the loader is ready, until it is not, and not after a reboot', async () => {
    await using directory = await createTemporaryDirectory();
    const { api, client } = world;
    const name = 'watched';
    const watcher = start(join(directory.path, 'log'), api.kubeconfig);
    /** What the program has printed last about the node. */
    const eventually = (loaded: Readonly<Record<string, string>>): Promise<void> =>
      vi.waitFor(() => {
        const lines = watcher
          .output()
          .split('\n')
          .filter((line) => line.startsWith('{"node"'));
        expect(lines.at(-1)).toBe(JSON.stringify({ node: name, loaded }));
      }, waiting);
    const loaded = { 'drivers/watched': 'r.example/driver:v1' };
    const node = { name, kernel, labels: { for: name }, bootId: 'boot-1' };
    await createNode(client, node);
    await world.createModule(name);
    await eventually({});
    await world.createLoader(name);
    await eventually(loaded);
    // A reboot: the kubelet tells of it, and that the pod is not ready.
    await setNodeInfo(client, { ...node, bootId: 'boot-2' });
    await setLoader(client, name, { isReady: false });
    await eventually({});
    await setLoader(client, name, { isReady: true, startedAt: '2026-01-02T00:00:00Z' });
    await eventually(loaded);
    await client.delete(modules, { namespace: 'drivers', name });
    await eventually({});
    expect(watcher.exited).toBe(false);
    await watcher.stop();
  });

  it('ends where nobody has applied the definition, which is why it is there', async () => {
    await using directory = await createTemporaryDirectory();
    const { api, client } = world;
    const name = 'nodemodulesconfigs.kmm.sigs.x-k8s.io';
    await client.delete(definitions, { name });
    await vi.waitFor(async () => {
      await expect(client.get(definitions, { name })).rejects.toThrow('not found');
    }, waiting);
    const watcher = start(join(directory.path, 'log'), api.kubeconfig);
    await vi.waitFor(() => expect(watcher.exited).toBe(true), waiting);
    expect(watcher.exitCode).toBe(1);
    expect(watcher.output()).toContain('no matches for kind');
  });
});
