import { afterAll, beforeAll, expect, it } from 'vitest';
import { preflightValidationsOcp } from '../../../src/controller/observe/cluster/resources.ts';
import { apiServerPrograms } from '../../support/api-server.ts';
import { describeWith } from '../../support/programs.ts';
import { endJob } from '../module/cluster-objects.ts';
import type { ModuleWorld } from '../module/module-world.ts';
import { startObservedController, type ObservedController } from '../module/observed-controller.ts';
import { build, createPreflight, kernel, ready, type Preflight } from './preflight-world.ts';

describeWith(apiServerPrograms, 'reconciling a preflight validation again', () => {
  let controller: ObservedController;
  let world: ModuleWorld;
  let preflight: Preflight;
  beforeAll(async () => {
    controller = await startObservedController();
    ({ world } = controller);
    preflight = createPreflight(world);
  });
  afterAll(() => controller?.[Symbol.asyncDispose]());

  it('writes nothing if the result is the same', async () => {
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
    // What failed is reconciled again and again.
    await controller.afterReconciles('preflightvalidation', 2);
    const before = [...controller.writes];
    await controller.afterReconciles('preflightvalidation', 4);
    expect(controller.writes).toEqual(before);
    await preflight.clear();
  });

  it('writes nothing for one of OpenShift if nothing has changed', async () => {
    await world.client.apply(
      preflightValidationsOcp,
      { metadata: { name: 'ocp' }, spec: { kernelVersion: kernel } },
      { force: true, fieldManager: 'user' },
    );
    await preflight.eventually('ocp', (status) => expect(ready(status)).toMatchObject({ status: 'True' }));
    const nudge = async (value: string): Promise<void> => {
      const annotations = { 'example.com/note': value };
      await controller.afterReconciles('preflightvalidationocp', 1, () =>
        world.client.patch(preflightValidationsOcp, { name: 'ocp' }, { metadata: { annotations } }),
      );
    };
    await nudge('0');
    const before = [...controller.writes];
    for (const value of ['1', '2', '3']) await nudge(value);
    expect(controller.writes).toEqual(before);
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
    await controller.afterReconciles('preflightvalidation', 4);
    const uids = (await world.jobs(name)).map(({ metadata }) => metadata.uid);
    expect(new Set(uids)).toEqual(new Set([first.metadata.uid, second.metadata.uid]));
    expect(uids).toHaveLength(2);
    await preflight.clear();
  });
});
