import { startModuleWorld } from '../module-world.ts';
import { startJobRunner } from './job-runner.ts';
import type { Environment } from './scenario.ts';
import { startObserver } from './observer.ts';

/** Creates an environment: a world, an observer, and a runner of its Jobs. */
export async function startEnvironment(): Promise<Environment & AsyncDisposable> {
  const world = await startModuleWorld();
  const observer = await startObserver(world);
  return {
    world,
    observer,
    runner: startJobRunner(world, observer),
    async [Symbol.asyncDispose]() {
      await observer[Symbol.asyncDispose]();
      await world[Symbol.asyncDispose]();
    },
  };
}
