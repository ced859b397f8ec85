import { Registry } from 'prom-client';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { preflightValidationsOcp } from '../../../src/controller/observe/cluster/resources.ts';
import { createRuntimeMetrics } from '../../../src/controller/runtime/metrics.ts';
import { apiServerPrograms } from '../../support/api-server.ts';
import { describeWith } from '../../support/programs.ts';
import { endJob } from '../module/cluster-objects.ts';
import { startModuleWorld, type ModuleWorld } from '../module/module-world.ts';
import { runController } from '../module/run-controller.ts';
import { countingClient, reconciles } from '../runtime/counting-client.ts';
import { build, createPreflight, kernel, ready, waiting, type Preflight } from './preflight-world.ts';

describeWith(apiServerPrograms, 'looking at a preflight validation again', () => {
  let world: ModuleWorld;
  let preflight: Preflight;
  let writes: readonly string[];
  const registry = new Registry();
  let stop: () => Promise<void>;
  beforeAll(async () => {
    world = await startModuleWorld();
    const counting = await countingClient(world.api.kubeconfig);
    ({ writes } = counting);
    stop = runController(counting.client, { preflightMetrics: createRuntimeMetrics(registry) });
    preflight = createPreflight(world);
  });
  afterAll(async () => {
    await stop?.();
    await world?.[Symbol.asyncDispose]();
  });

  /** Waits until a controller has reconciled some more times. */
  async function looks(controller: string, more: number): Promise<void> {
    const before = await reconciles(registry, controller);
    await vi.waitFor(async () => {
      expect(await reconciles(registry, controller)).toBeGreaterThanOrEqual(before + more);
    }, waiting);
  }

  it('writes nothing where the answer is the same', async () => {
    const name = 'missing';
    await world.namespace(name);
    await preflight.applyModule(name);
    await preflight.ask('first', { kernelVersion: kernel });
    await preflight.ask('follower', { kernelVersion: kernel });
    for (const validation of ['first', 'follower']) {
      await preflight.result(validation, name, { verificationStatus: 'Failure' });
      await preflight.eventually(validation, (status) =>
        expect(ready(status)).toMatchObject({ status: 'False' }),
      );
    }
    // What failed is looked at again and again.
    await looks('preflightvalidation', 2);
    const before = [...writes];
    await looks('preflightvalidation', 4);
    expect(writes).toEqual(before);
    await preflight.clear();
  });

  it('writes nothing for one of OpenShift where nothing has changed', async () => {
    await world.client.apply(
      preflightValidationsOcp,
      { metadata: { name: 'ocp' }, spec: { kernelVersion: kernel } },
      { force: true, fieldManager: 'user' },
    );
    await preflight.eventually('ocp', (status) => expect(ready(status)).toMatchObject({ status: 'True' }));
    const nudge = async (value: string): Promise<void> => {
      const looked = looks('preflightvalidationocp', 1);
      const annotations = { 'example.com/note': value };
      await world.client.patch(preflightValidationsOcp, { name: 'ocp' }, { metadata: { annotations } });
      await looked;
    };
    await nudge('0');
    const before = [...writes];
    for (const value of ['1', '2', '3']) await nudge(value);
    expect(writes).toEqual(before);
    await world.client.delete(preflightValidationsOcp, { name: 'ocp' });
  });

  it('keeps the Jobs that failed, and makes no more of them than it may', async () => {
    const name = 'failed';
    await world.namespace(name);
    await preflight.applyModule(name, { container: { build } });
    await preflight.ask('failed', { kernelVersion: kernel });
    const first = await world.activeJob(name, 'build');
    await endJob(world.client, first, 'Failed');
    const second = await world.activeJob(name, 'build');
    await endJob(world.client, second, 'Failed');
    await preflight.result('failed', name, { verificationStatus: 'Failure' });
    await looks('preflightvalidation', 4);
    const uids = (await world.jobs(name)).map(({ metadata }) => metadata.uid);
    expect(new Set(uids)).toEqual(new Set([first.metadata.uid, second.metadata.uid]));
    expect(uids).toHaveLength(2);
    await preflight.clear();
  });
});
