import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { modules, pods } from '../../src/controller/observe/cluster/resources.ts';
import { isApiError } from '../../src/controller/runtime/api/errors.ts';
import { listAll } from '../../src/controller/runtime/api/list.ts';
import { eventually } from '../cluster/wait-for.ts';
import { kernelRelease } from '../support/debian-kernel.ts';
import { describeWith } from '../support/programs.ts';
import type { TestNode } from '../support/cluster/kubelet.ts';
import { operatorWorldPrograms, startOperatorWorld, type OperatorWorld } from './operator-world.ts';

const name = 'plain-module';
const unloadTimeout = '6s';

describeWith(operatorWorldPrograms, 'a Module whose module is in use', () => {
  let world: OperatorWorld;
  let node: TestNode;
  /** The file that says how often the node's module is used. */
  const references = (): string => join(node.root, 'sys/module/hello/refcnt');

  async function loaded(): Promise<void> {
    await world.eventually(name, ({ status }) => {
      expect(status?.conditions).toContainEqual(expect.objectContaining({ type: 'Ready', reason: 'Loaded' }));
    });
  }

  beforeAll(async () => {
    world = await startOperatorWorld();
    node = await world.kubelet.addNode({ name: 'worker-0', kernel: kernelRelease });
    await world.startOperator({ loader: { unloadTimeout } });
    await world.applyManifest('plain');
    await loaded();
  });
  afterAll(async () => {
    await world?.[Symbol.asyncDispose]();
  });

  it('stays when it is deleted, and says on which node the module is in use, after its device plugin is gone', async () => {
    await writeFile(references(), '2\n');
    await mkdir(join(node.root, 'sys/module/hello/holders/gpu_b'), { recursive: true });
    await world.kubectl(['delete', 'module', name, '--wait=false']);
    await world.eventually(name, ({ status }) => {
      expect(status?.conditions).toEqual(
        expect.arrayContaining([
          expect.objectContaining({ type: 'Ready', status: 'False', reason: 'Unloading' }),
          expect.objectContaining({
            type: 'Degraded',
            status: 'True',
            reason: 'UnloadFailed',
            message: 'Node worker-0: modprobe: FATAL: Module hello is in use. (module is in use by gpu_b)',
          }),
        ]),
      );
    });
    expect(await world.pods(name, 'device-plugin')).toEqual([]);
    expect(node.loaded().has('hello')).toBe(true);
  });

  it('is gone once nobody uses the module', async () => {
    await rm(join(node.root, 'sys/module/hello/holders'), { recursive: true });
    await writeFile(references(), '0\n');
    await eventually(async () => {
      const gone = await world.client.get(modules, { namespace: 'default', name }).then(
        () => false,
        (error: unknown) => isApiError(error, 'NOT_FOUND'),
      );
      expect(gone).toBe(true);
    });
    await eventually(async () =>
      expect(await listAll(world.client, pods, { namespace: 'default' })).toEqual([]),
    );
    expect(node.loaded().has('hello')).toBe(false);
  });

  it('goes at once where an annotation says so', async () => {
    await world.applyManifest('plain');
    await loaded();
    await writeFile(references(), '1\n');
    await world.kubectl(['annotate', 'module', name, 'kmm.sigs.x-k8s.io/skip-unload=true']);
    // Waits until it is gone.
    await world.kubectl(['delete', 'module', name]);
    expect(node.loaded().has('hello')).toBe(true);
  });
});
