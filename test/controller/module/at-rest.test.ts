import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { daemonSets } from '../../../src/controller/observe/cluster/resources.ts';
import { apiServerPrograms } from '../../support/api-server.ts';
import { describeWith } from '../../support/programs.ts';
import { endJob } from './cluster-objects.ts';
import type { ModuleWorld } from './module-world.ts';
import { startObservedController, type ObservedController } from './observed-controller.ts';

const kernel = '6.1.0-13-amd64';
const waiting = { timeout: 30_000, interval: 50 };
const roleLabel = 'kmm.node.kubernetes.io/role';

/** Writes for the namespace `still`, but for Events. */
function ofStill(writes: readonly string[]): string[] {
  return writes.filter((write) => write.includes('/namespaces/still/') && !write.includes('events'));
}

describeWith(apiServerPrograms, 'reconciling a Module again', () => {
  let controller: ObservedController;
  let world: ModuleWorld;
  beforeAll(async () => {
    controller = await startObservedController();
    ({ world } = controller);
  });
  afterAll(() => controller?.[Symbol.asyncDispose]());

  it('writes nothing where nothing has changed', async () => {
    const name = 'still';
    await world.namespaceWithNode(name, kernel);
    await world.push(world.image(`${name}:${kernel}`));
    await world.apply(name, world.spec(name, {}));
    await world.eventually(name, ({ status }) => expect(status?.kernels).toMatchObject([{ phase: 'Ready' }]));
    await controller.touchModule(name, '0');
    const before = ofStill(controller.writes);
    for (const value of ['1', '2', '3']) await controller.touchModule(name, value);
    expect(ofStill(controller.writes)).toEqual(before);
  });

  it('keeps the Jobs that failed, and makes no more of them than it may', async () => {
    const name = 'failed';
    await world.namespaceWithNode(name, kernel);
    await world.apply(name, world.spec(name, { build: { dockerfileConfigMap: { name: 'build' } } }));
    const first = await world.activeJob(name, 'build');
    await endJob(world.client, first, 'Failed');
    const second = await world.activeJob(name, 'build');
    await endJob(world.client, second, 'Failed');
    await world.eventually(name, ({ status }) => {
      expect(status?.kernels).toMatchObject([{ phase: 'Failed', attempts: 2 }]);
    });
    for (const value of ['1', '2', '3', '4']) await controller.touchModule(name, value);
    const uids = (await world.jobs(name)).map(({ metadata }) => metadata.uid);
    expect(new Set(uids)).toEqual(new Set([first.metadata.uid, second.metadata.uid]));
    expect(uids).toHaveLength(2);
  });

  it('leaves the device plugin of the version before as long as nodes have it, and deletes it then', async () => {
    const name = 'ordered';
    await world.namespaceWithNode(name, kernel);
    const version = 'beta.kmm.node.kubernetes.io/version-device-plugin.ordered.driver';
    const plugins = async () =>
      (await world.daemonSets(name)).filter(
        ({ metadata }) => metadata.labels?.[roleLabel] === 'device-plugin',
      );
    const versions = async () =>
      (await plugins())
        .map(({ metadata }) => metadata.labels?.[version] ?? 'none')
        .toSorted((a, b) => a.localeCompare(b));
    await world.push(world.image(`${name}:${kernel}`));
    const devicePlugin = { container: { image: 'plugin' } };
    await world.apply(name, world.spec(name, { version: 'v1' }, { devicePlugin }));
    await vi.waitFor(async () => expect(await versions()).toEqual(['v1']), waiting);
    const [first] = await plugins();
    const key = { namespace: name, name: first?.metadata.name ?? '' };
    const setDesired = (desiredNumberScheduled: number) =>
      world.client.patch(
        daemonSets,
        key,
        {
          status: {
            desiredNumberScheduled,
            currentNumberScheduled: 0,
            numberMisscheduled: 0,
            numberReady: 0,
          },
        },
        { subresource: 'status' },
      );
    await setDesired(1);
    await controller.touchModule(name, '0');
    await world.apply(name, world.spec(name, { version: 'v2' }, { devicePlugin }));
    await vi.waitFor(async () => expect(await versions()).toEqual(['v1', 'v2']), waiting);
    for (const value of ['1', '2']) await controller.touchModule(name, value);
    expect(await versions()).toEqual(['v1', 'v2']);
    await setDesired(0);
    await vi.waitFor(async () => expect(await versions()).toEqual(['v2']), waiting);
  });
});
