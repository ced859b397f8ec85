import { afterAll, beforeAll, expect, it } from 'vitest';
import { apiServerPrograms } from '../../support/api-server.ts';
import { describeWith } from '../../support/programs.ts';
import { startModuleWorld, type ModuleWorld } from './module-world.ts';

const kernel = '6.1.0-13-amd64';
const hour = 3_600_000;

const trigger = (imageRebuildTriggerGeneration: number) => ({ imageRebuildTriggerGeneration });

describeWith(apiServerPrograms, 'imageRebuildTriggerGeneration', () => {
  let world: ModuleWorld;
  beforeAll(async () => {
    world = await startModuleWorld();
    // What was found in the registry counts for the whole test.
    await world.startController({ images: { foundTtl: hour } });
  });
  afterAll(() => world[Symbol.asyncDispose]());

  const build = { dockerfileConfigMap: { name: 'build' } };

  it('has every image checked again past the caches, and builds nothing that exists', async () => {
    const name = 'checked';
    await world.namespaceWithNode(name, kernel);
    const first = await world.push(world.image(`${name}:${kernel}`), 'first');
    await world.apply(name, world.spec(name, { build }, trigger(1)));
    await world.eventually(name, ({ status }) => expect(status?.kernels?.[0]?.digest).toBe(first));
    const second = await world.push(world.image(`${name}:${kernel}`), 'second');
    await world.apply(name, world.spec(name, { build }, trigger(2)));
    const { status } = await world.eventually(name, (module) => {
      expect(module.status?.kernels?.[0]?.digest).toBe(second);
    });
    expect(status?.imageRebuildTriggerGeneration).toBe(2);
    expect(await world.jobs(name)).toEqual([]);
  });

  it('builds an image that exists where the annotation asks for it', async () => {
    const name = 'rebuilt';
    const always = { 'kmm.sigs.x-k8s.io/rebuild': 'always' };
    await world.namespaceWithNode(name, kernel);
    const first = await world.push(world.image(`${name}:${kernel}`), 'first');
    await world.apply(name, world.spec(name, { build }, trigger(1)), always);
    await world.eventually(name, ({ status }) => expect(status?.kernels?.[0]?.digest).toBe(first));
    expect(await world.jobs(name)).toEqual([]);
    await world.apply(name, world.spec(name, { build }, trigger(2)), always);
    const second = await world.build(await world.activeJob(name, 'build'), 'second');
    await world.eventually(name, ({ status }) => {
      expect(status?.kernels?.[0]).toMatchObject({ phase: 'Ready', digest: second });
    });
  });
});
