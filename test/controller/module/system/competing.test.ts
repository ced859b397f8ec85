import { afterAll, beforeAll, expect, it } from 'vitest';
import { apiServerPrograms } from '../../../support/api-server.ts';
import { describeWith } from '../../../support/programs.ts';
import { startCandidate, type Candidate } from './candidate.ts';
import { startMortalOperator } from './mortal-operator.ts';
import { startStage } from './stage.ts';
import { playStory, workOfStory, type Ending, type Stage } from './story.ts';

/** As in production: what a registry said is believed for a while. */
const images = { missingTtl: 10_000, foundTtl: 600_000 };

describeWith(apiServerPrograms, 'operators that compete', () => {
  let stage: Stage & AsyncDisposable;
  let alone: Ending;
  beforeAll(async () => {
    stage = await startStage();
    alone = await playWith('alone', 1);
  });
  afterAll(() => stage[Symbol.asyncDispose]());

  /** Plays a story with so many operators at once, none of which knows of the others. */
  async function playWith(namespace: string, operators: number): Promise<Ending> {
    const running = await Promise.all(
      Array.from({ length: operators }, () =>
        startMortalOperator(stage.world, { namespace, run: { images } }),
      ),
    );
    try {
      return await playStory(stage, namespace);
    } finally {
      await Promise.all(running.map((operator) => operator.kill()));
    }
  }

  it('do no work twice, and come to the end that one alone comes to', async () => {
    const endings = await Promise.all(Array.from({ length: 8 }, (_, index) => playWith(`two-${index}`, 2)));
    expect(alone.work).toEqual(workOfStory);
    for (const ending of endings) expect(ending).toEqual(alone);
    expect(await stage.witness.objections()).toEqual([]);
  });

  it('work one at a time where they elect a leader, and another goes on when it dies', async () => {
    const namespace = 'elected';
    const over = new AbortController();
    const [first, second] = [
      await startCandidate(stage.world, { namespace, signal: over.signal }),
      await startCandidate(stage.world, { namespace, signal: over.signal }),
    ];
    const leader = (): Candidate | undefined => [first, second].find((one) => one.isLeading());
    let killed: Candidate | undefined;
    const ending = await playStory(stage, namespace, async (when, part) => {
      if (when === 'before' || part !== 'dockerfile') return;
      killed = leader();
      const waiting = killed === first ? second : first;
      expect(waiting.connection.writes.filter((write) => !write.includes('/leases'))).toEqual([]);
      killed?.connection.die();
    });
    const other = killed === first ? second : first;
    expect(killed).toBeDefined();
    expect(leader()).toBe(other);
    expect(ending).toEqual(alone);
    over.abort();
    await Promise.all([first.ended, second.ended]);
    expect(await stage.witness.objections()).toEqual([]);
  });
});
