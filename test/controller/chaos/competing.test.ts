import { afterAll, beforeAll, expect, it } from 'vitest';
import { apiServerPrograms } from '../../support/api-server.ts';
import { describeWith } from '../../support/programs.ts';
import { startModuleWorld } from '../module/module-world.ts';
import { startJobPlayer } from './job-player.ts';
import { startMortalOperator } from './mortal-operator.ts';
import { playStory, workOfStory, type Ending, type Stage } from './story.ts';
import { startWitness } from './witness.ts';

/** As in production: what a registry said is believed for a while. */
const images = { missingTtl: 10_000, foundTtl: 600_000 };

describeWith(apiServerPrograms, 'operators that compete', () => {
  let stage: Stage;
  beforeAll(async () => {
    const world = await startModuleWorld();
    const witness = await startWitness(world);
    stage = { world, witness, player: startJobPlayer(world, witness) };
  });
  afterAll(async () => {
    await stage.witness[Symbol.asyncDispose]();
    await stage.world[Symbol.asyncDispose]();
  });

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
    const alone = await playWith('alone', 1);
    const endings = await Promise.all(Array.from({ length: 8 }, (_, index) => playWith(`two-${index}`, 2)));
    for (const ending of endings) expect(ending).toEqual(alone);
    expect(alone.work).toEqual(workOfStory);
    expect(await stage.witness.objections()).toEqual([]);
  });
});
