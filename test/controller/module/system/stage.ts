import { startModuleWorld } from '../module-world.ts';
import { startJobPlayer } from './job-player.ts';
import type { Stage } from './story.ts';
import { startWitness } from './witness.ts';

/** Makes a stage: a world, somebody who watches it, and somebody who does what Jobs would do. */
export async function startStage(): Promise<Stage & AsyncDisposable> {
  const world = await startModuleWorld();
  const witness = await startWitness(world);
  return {
    world,
    witness,
    player: startJobPlayer(world, witness),
    async [Symbol.asyncDispose]() {
      await witness[Symbol.asyncDispose]();
      await world[Symbol.asyncDispose]();
    },
  };
}
