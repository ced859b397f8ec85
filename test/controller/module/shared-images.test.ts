import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Module } from '../../../src/api/module/module.ts';
import {
  canonicalName,
  ImagePushers,
  sharedImagesEvents,
  sharedImagesFinding,
} from '../../../src/controller/module/shared-images.ts';
import { modules } from '../../../src/controller/observe/cluster/resources.ts';
import { apiServerPrograms } from '../../support/api-server.ts';
import { describeWith } from '../../support/programs.ts';
import { startModuleWorld, type ModuleWorld } from './module-world.ts';
import { reasonsOf } from './cluster-objects.ts';

const [a, b, c] = ['a', 'b', 'c'].map((namespace) => ({ namespace, name: 'driver' })) as [
  { namespace: string; name: string },
  { namespace: string; name: string },
  { namespace: string; name: string },
];

describe('the Modules that push an image', () => {
  it('are told of each other, and again when one of them comes or goes', () => {
    const pushers = new ImagePushers();
    expect(pushers.register(a, ['r/x:1', 'r/y:1'])).toEqual([]);
    expect(pushers.register(b, ['r/x:1'])).toEqual([a]);
    expect(pushers.sharedBy(a)).toEqual([{ image: 'r/x:1', others: ['b/driver'] }]);
    expect(pushers.sharedBy(b)).toEqual([{ image: 'r/x:1', others: ['a/driver'] }]);
    expect(pushers.register(b, ['r/x:1'])).toEqual([]);
    expect(pushers.register(c, ['r/x:1', 'r/z:1'])).toEqual([a, b]);
    expect(pushers.sharedBy(b)).toEqual([{ image: 'r/x:1', others: ['a/driver', 'c/driver'] }]);
    expect(pushers.register(b, ['r/z:1'])).toEqual([a, c]);
    expect(pushers.unregister(c)).toEqual([a, b]);
    expect([a, b, c].map((one) => pushers.sharedBy(one))).toEqual([[], [], []]);
    expect([a, b, c].map((one) => pushers.has(one))).toEqual([true, true, false]);
  });

  it('are the same for other spellings of its name', () => {
    expect(canonicalName('vendor/driver')).toBe(canonicalName('docker.io/vendor/driver:latest'));
    expect(canonicalName('not a name')).toBe('not a name');
  });
});

describe('the finding about shared images', () => {
  const shared = [{ image: 'r/x:1', others: ['b/driver'] }];
  const [finding] = sharedImagesFinding(shared, undefined);
  const condition = { ...finding!, lastTransitionTime: '2026-01-01T00:00:00Z' };

  it('names image and Modules, a few of many', () => {
    expect(finding).toMatchObject({ type: 'SharedImages', status: 'True', reason: 'PushedByOthers' });
    expect(finding?.message).toContain('r/x:1 by b/driver');
    const many = Array.from({ length: 5 }, (_, index) => ({
      image: `r/x:${index}`,
      others: ['b/1', 'b/2', 'b/3', 'b/4', 'b/5'],
    }));
    const message = sharedImagesFinding(many, undefined)[0]?.message;
    expect(message).toContain('r/x:2 by b/1, b/2, b/3 and 2 others (and 2 more images)');
  });

  it('stays as it is until all Modules are known, and goes when no image is shared', () => {
    expect(sharedImagesFinding(undefined, { conditions: [condition] })).toEqual([finding]);
    expect(sharedImagesFinding(undefined, undefined)).toEqual([]);
    expect(sharedImagesFinding([], { conditions: [condition] })).toEqual([]);
  });

  it('is an event when it is new', () => {
    const status = { conditions: [condition] };
    expect(sharedImagesEvents(status, undefined)).toMatchObject([
      { type: 'Warning', reason: 'ImagesShared' },
    ]);
    expect(sharedImagesEvents(status, status)).toEqual([]);
    expect(sharedImagesEvents({}, status)).toEqual([]);
  });
});

function conditionOf({ status }: Module) {
  return status?.conditions?.find(({ type }) => type === 'SharedImages');
}

describeWith([...apiServerPrograms, 'docker-registry'], 'two Modules that build one tag', () => {
  const kernel = '6.1.0-13-amd64';
  let world: ModuleWorld;
  let stop: () => Promise<void>;
  beforeAll(async () => {
    world = await startModuleWorld(undefined, 'docker-registry');
    stop = await world.startController();
  }, 120_000);
  afterAll(() => world?.[Symbol.asyncDispose]());

  it('are told of each other by condition and event, until one has another tag', async () => {
    const build = { dockerfileConfigMap: { name: 'build' } };
    const containerImage = world.image(`shared:${kernel}`);
    const names = ['first', 'second'] as const;
    for (const name of names) {
      await world.namespaceWithNode(name, kernel);
      await world.apply(name, world.spec(name, { build, containerImage }));
    }
    const pairs = [
      ['first', 'second'],
      ['second', 'first'],
    ] as const;
    for (const [name, other] of pairs) {
      const module = await world.eventually(name, (one) => {
        expect(conditionOf(one)?.message).toContain(`${containerImage} by ${other}/driver`);
      });
      expect(conditionOf(module)).toMatchObject({ status: 'True', reason: 'PushedByOthers' });
      await world.events(name, (events) => expect(reasonsOf(events)).toContain('ImagesShared'));
    }

    const before = conditionOf(await world.module('first'));
    await stop();
    stop = await world.startController();
    const digest = await world.build(await world.activeJob('first', 'build'));
    await world.eventually('first', ({ status }) => expect(status?.kernels).toMatchObject([{ digest }]));
    expect(conditionOf(await world.module('first'))).toMatchObject({
      lastTransitionTime: before?.lastTransitionTime,
    });

    await world.apply('second', world.spec('second', { build }));
    for (const name of names) {
      await world.eventually(name, (module) => expect(conditionOf(module)).toBeUndefined());
    }

    await world.apply('second', world.spec('second', { build, containerImage }));
    await world.eventually('first', (module) => expect(conditionOf(module)).toBeDefined());
    await world.client.delete(modules, { namespace: 'second', name: 'driver' });
    await world.eventually('first', (module) => expect(conditionOf(module)).toBeUndefined());
  });

  it('are not told if one only uses what the other builds', async () => {
    const containerImage = world.image(`used:${kernel}`);
    for (const name of ['builder', 'user']) await world.namespaceWithNode(name, kernel);
    const build = { dockerfileConfigMap: { name: 'build' } };
    await world.apply('builder', world.spec('builder', { build, containerImage }));
    await world.build(await world.activeJob('builder', 'build'));
    await world.apply('user', world.spec('user', { containerImage }));
    for (const name of ['builder', 'user']) {
      const module = await world.eventually(name, ({ status }) => {
        expect(status?.kernels).toMatchObject([{ phase: 'Ready' }]);
      });
      expect(conditionOf(module)).toBeUndefined();
    }
  });
});
