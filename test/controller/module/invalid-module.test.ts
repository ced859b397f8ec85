import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { apiServerPrograms } from '../../support/api-server.ts';
import { describeWith } from '../../support/programs.ts';
import type { ModuleWorld } from './module-world.ts';
import { startObservedController, type ObservedController } from './observed-controller.ts';

const kernel = '6.1.0-13-amd64';
const waiting = { timeout: 30_000, interval: 50 };
const build = { dockerfileConfigMap: { name: 'build' } };
/** What KMM's webhook refuses, and the schema does not. */
const outside = { name: 'etc', hostPath: { path: '/etc/shadow' } };
const problem = /spec\.devicePlugin\.volumes\[0\]\.hostPath\.path: \/etc\/shadow is not below/;

describeWith(apiServerPrograms, 'a Module against the rules, in a cluster without a webhook', () => {
  let controller: ObservedController;
  let world: ModuleWorld;
  beforeAll(async () => {
    controller = await startObservedController();
    ({ world } = controller);
  });
  afterAll(() => controller?.[Symbol.asyncDispose]());

  const spec = (name: string, volumes: readonly object[]): object =>
    world.spec(name, { build }, { devicePlugin: { container: { image: 'plugin' }, volumes } });

  const refused = async (name: string) =>
    world.eventually(name, ({ status }) => {
      expect(status?.conditions).toMatchObject([
        { type: 'Ready', status: 'False', reason: 'InvalidModule' },
        { type: 'Progressing', status: 'False', reason: 'InvalidModule' },
        { type: 'Degraded', status: 'True', message: expect.stringMatching(problem) as string },
      ]);
    });

  it('is refused with a condition and an event, and gets no Job; once mended, it is worked on', async () => {
    const name = 'against-rules';
    await world.namespaceWithNode(name, kernel);
    await world.apply(name, spec(name, [outside]));
    await refused(name);
    const note = expect.stringMatching(problem) as string;
    await world.events(name, (events) => {
      expect(events).toMatchObject([{ type: 'Warning', reason: 'InvalidModule', note }]);
    });
    expect([await world.jobs(name), await world.daemonSets(name)]).toEqual([[], []]);
    await world.apply(name, spec(name, []));
    expect((await world.activeJob(name, 'build')).metadata.name).toContain('driver');
  });

  it('keeps what runs, and what is known of it, when it comes to be against them', async () => {
    const name = 'was-good';
    await world.namespaceWithNode(name, kernel);
    const digest = await world.push(world.image(`${name}:${kernel}`));
    await world.apply(name, spec(name, []));
    await world.eventually(name, ({ status }) => expect(status?.kernels).toMatchObject([{ phase: 'Ready' }]));
    await vi.waitFor(async () => expect(await world.daemonSets(name)).toHaveLength(2), waiting);
    const before = await world.daemonSets(name);
    await world.apply(name, spec(name, [outside]));
    const { status } = await refused(name);
    expect(status?.kernels).toMatchObject([{ kernelVersion: kernel, phase: 'Ready', digest }]);
    expect(await world.daemonSets(name)).toEqual(before);
  });

  it('is not written again when it is reconciled again', async () => {
    const name = 'looked-at-again';
    await world.namespaceWithNode(name, kernel);
    await world.apply(name, spec(name, [outside]));
    await refused(name);
    for (const value of ['1', '2', '3']) {
      const written = ofModule(name).length;
      await controller.touchModule(name, value);
      expect(ofModule(name)).toHaveLength(written);
    }
    expect(ofModule(name)).toHaveLength(1);
  });

  const ofModule = (name: string): string[] =>
    controller.writes.filter((write) => write.includes(`/namespaces/${name}/modules/`));
});
