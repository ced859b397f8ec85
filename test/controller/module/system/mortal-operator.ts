import { ApiClient } from '../../../../src/controller/runtime/api/client.ts';
import { createConnection, loadConfig } from '../../../../src/controller/runtime/api/connection.ts';
import type { ModuleWorld } from '../module-world.ts';
import { runController, type RunControllerOptions } from '../run-controller.ts';
import { mortalConnection, type Death, type MortalConnection } from './mortal-connection.ts';

export interface MortalOperatorOptions {
  readonly namespace: string;
  readonly death?: Death | undefined;
  readonly run?: RunControllerOptions | undefined;
}

/** A Module controller that can die. */
export interface MortalOperator {
  readonly connection: MortalConnection;
  /** Kills it, if it is not dead yet, and waits until nothing of it is left. */
  kill(): Promise<void>;
}

/** A client that sees one namespace, and can die. */
export async function mortalClient(
  { api }: Pick<ModuleWorld, 'api'>,
  { namespace, death }: Pick<MortalOperatorOptions, 'namespace' | 'death'>,
): Promise<{ readonly client: ApiClient; readonly connection: MortalConnection }> {
  const connection = mortalConnection({
    connection: createConnection(await loadConfig(api.kubeconfig)),
    namespace,
    death,
  });
  const client = new ApiClient({ connection, fieldManager: 'kmm-operator', userAgent: 'kmm-sign-tests' });
  return { client, connection };
}

/** Starts a controller for one namespace. */
export async function startMortalOperator(
  world: Pick<ModuleWorld, 'api'>,
  { namespace, death, run }: MortalOperatorOptions,
): Promise<MortalOperator> {
  const { client, connection } = await mortalClient(world, { namespace, death });
  const stop = runController(client, { ...run, gracePeriod: 0 });
  return {
    connection,
    kill: async () => {
      connection.die();
      await stop();
    },
  };
}

/** One operator after the other, each started when the one before has died, until the signal is aborted. */
export async function liveAgainAndAgain(
  world: Pick<ModuleWorld, 'api'>,
  namespace: string,
  deathOf: (life: number) => Death | undefined,
  signal: AbortSignal,
): Promise<string[][]> {
  const ended = new Promise<void>((resolve) => {
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
  const lives: string[][] = [];
  while (!signal.aborted) {
    const operator = await startMortalOperator(world, { namespace, death: deathOf(lives.length) });
    await Promise.race([operator.connection.died, ended]);
    await operator.kill();
    lives.push([...operator.connection.writes]);
  }
  return lives;
}
