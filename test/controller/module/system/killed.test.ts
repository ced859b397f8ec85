import pLimit from 'p-limit';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { apiServerPrograms } from '../../../support/api-server.ts';
import { describeWith } from '../../../support/programs.ts';
import type { Death } from './mortal-connection.ts';
import { liveAgainAndAgain } from './mortal-operator.ts';
import { startStage } from './stage.ts';
import { playStory, workOfStory, type Ending, type Stage } from './story.ts';

/** Stories at a time. */
const concurrency = 8;
/** Milliseconds for all of them, on a busy machine. */
const patience = 300_000;

describeWith(apiServerPrograms, 'an operator that is killed', () => {
  let stage: Stage & AsyncDisposable;
  let undisturbed: { readonly ending: Ending; readonly writes: readonly string[] };
  beforeAll(async () => {
    stage = await startStage();
    const { ending, lives } = await playWith('undisturbed', () => undefined);
    undisturbed = { ending, writes: lives.flat() };
  });
  afterAll(() => stage[Symbol.asyncDispose]());

  /** Plays a story with operators that die. */
  async function playWith(
    namespace: string,
    deathOf: (life: number) => Death | undefined,
  ): Promise<{ readonly ending: Ending; readonly lives: readonly (readonly string[])[] }> {
    const over = new AbortController();
    const living = liveAgainAndAgain(stage.world, namespace, deathOf, over.signal);
    try {
      const ending = await playStory(stage, namespace);
      return { ending, lives: await stopped() };
    } finally {
      await stopped();
    }

    async function stopped(): Promise<string[][]> {
      over.abort();
      return living;
    }
  }

  it('leaves a story, when it is left alone, with each work done once', async () => {
    expect(undisturbed.ending.work).toEqual(workOfStory);
    expect(undisturbed.ending.daemonSets.length).toBe(2);
    expect(await stage.witness.objections()).toEqual([]);
    expect(stage.witness.imagesSeen('undisturbed').length).toBe(3);
    // Each kind of write is among those that the operator dies with.
    for (const kind of [
      /POST .*jobs$/,
      /PATCH .*daemonsets/,
      /PATCH .*status$/,
      /DELETE .*jobs/,
      /DELETE .*daemonsets/,
    ]) {
      expect(undisturbed.writes).toContainEqual(expect.stringMatching(kind));
    }
  });

  it.each([
    ['after each write', true],
    ['at each write, before it learns of it', false],
  ])(
    'goes on as if nothing had happened when it dies %s',
    async (_when, learns) => {
      const limit = pLimit(concurrency);
      const deaths = await Promise.all(
        undisturbed.writes.map((_, index) =>
          limit(async () => {
            const write = index + 1;
            const { ending, lives } = await playWith(`${learns ? 'told' : 'untold'}-${write}`, (life) =>
              life === 0 ? { write, learns } : undefined,
            );
            expect(ending, `death at write ${write}`).toEqual(undisturbed.ending);
            return lives.length - 1;
          }),
        ),
      );
      // How status writes are merged depends on the time, so the last deaths may not come.
      expect(deaths.filter((count) => count === 1).length).toBeGreaterThan(deaths.length * 0.75);
      expect(await stage.witness.objections()).toEqual([]);
    },
    patience,
  );

  it('comes to the end although every operator dies with its fourth write', async () => {
    const { ending, lives } = await playWith('always', (life) => ({ write: 4, learns: life % 2 === 0 }));
    expect(ending).toEqual(undisturbed.ending);
    expect(lives.length).toBeGreaterThan(5);
    expect(await stage.witness.objections()).toEqual([]);
  });
});
