import { afterAll, beforeAll, expect, it } from 'vitest';
import { apiServerPrograms } from '../../../support/api-server.ts';
import { startFaultProxy, type Fault, type FaultProxy } from '../../../support/fault-proxy.ts';
import { describeWith } from '../../../support/programs.ts';
import { startMortalOperator } from './mortal-operator.ts';
import { startStage } from './stage.ts';
import { playStory, workOfStory, type Ending, type Interlude, type Stage } from './story.ts';

const outages: Record<string, Fault> = {
  'answers 503': { kind: 'status', status: 503 },
  'breaks connections off': { kind: 'reset-at-once' },
};

describeWith(apiServerPrograms, 'what the operator works with', () => {
  let stage: Stage & AsyncDisposable;
  let proxy: FaultProxy;
  let undisturbed: Ending;
  beforeAll(async () => {
    stage = await startStage();
    proxy = await startFaultProxy({ target: stage.world.registry.url });
    undisturbed = await play('undisturbed');
  });
  afterAll(async () => {
    await proxy.close();
    await stage[Symbol.asyncDispose]();
  });

  /** Plays a story in which the operator reaches the registry by the proxy. Jobs have a way of their own. */
  async function play(namespace: string, interlude?: Interlude): Promise<Ending> {
    const world = { ...stage.world, image: (name: string) => `${proxy.host}/${name}` };
    const operator = await startMortalOperator(world, { namespace });
    try {
      return await playStory({ ...stage, world }, namespace, interlude);
    } finally {
      await operator.kill();
    }
  }

  it.each(Object.entries(outages))(
    'may be away: a registry that %s starts no build',
    async (_name, fault) => {
      const namespace = `registry-${fault.kind}`;
      const { witness, player } = stage;
      let before = { jobs: 0, daemonSets: 0 };
      const count = (): typeof before => ({
        jobs: player.played(namespace).length,
        daemonSets: witness.daemonSets(namespace).length,
      });
      const ending = await play(namespace, async (when, part) => {
        if (when === 'before') {
          before = count();
          proxy.reset(() => fault);
          return;
        }
        await witness.until(() => {
          const { status } = witness.module(namespace) ?? {};
          expect(status?.kernels?.[0]?.phase).toBe('Checking');
          expect(status?.conditions).toContainEqual(
            expect.objectContaining({ type: 'Degraded', status: 'True' }),
          );
        });
        // What runs stays, as long as its kernel does.
        const staying = part === 'kernel' ? before.daemonSets - 1 : Math.max(1, before.daemonSets);
        await witness.until(() => expect(count()).toEqual({ jobs: before.jobs, daemonSets: staying }));
        proxy.reset();
      });
      expect(ending).toEqual(undisturbed);
      expect(ending.work).toEqual(workOfStory);
      expect(await witness.objections()).toEqual([]);
    },
  );

  it('may crash: an API server that starts again, without its history', async () => {
    const { api } = stage.world;
    const ending = await play('api-server', async (when) => {
      if (when === 'before') return;
      await api.compact();
      await api.kill();
      await api.start();
    });
    expect(ending).toEqual(undisturbed);
    expect(await stage.witness.objections()).toEqual([]);
  });
});
