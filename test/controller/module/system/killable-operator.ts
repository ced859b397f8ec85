import { ApiClient } from '../../../../src/controller/runtime/api/client.ts';
import { createConnection, loadConfig } from '../../../../src/controller/runtime/api/connection.ts';
import type { ModuleWorld } from '../module-world.ts';
import { runController, type RunControllerOptions } from '../run-controller.ts';
import { killableConnection, type KillPoint, type KillableConnection } from './killable-connection.ts';

export interface KillableOperatorOptions {
  readonly namespace: string;
  readonly killPoint?: KillPoint | undefined;
  readonly run?: RunControllerOptions | undefined;
}

/** A Module controller that can be killed. */
export interface KillableOperator {
  readonly connection: KillableConnection;
  /** Kills it, unless that has happened, and waits until it has ended. */
  kill(): Promise<void>;
}

/** Creates a client for one namespace that can be killed. */
export async function killableClient(
  { api }: Pick<ModuleWorld, 'api'>,
  { namespace, killPoint }: Pick<KillableOperatorOptions, 'namespace' | 'killPoint'>,
): Promise<{ readonly client: ApiClient; readonly connection: KillableConnection }> {
  const connection = killableConnection({
    connection: createConnection(await loadConfig(api.kubeconfig)),
    namespace,
    killPoint,
  });
  const client = new ApiClient({ connection, fieldManager: 'kmm-operator', userAgent: 'kmm-sign-tests' });
  return { client, connection };
}

/** Starts a controller for one namespace. */
export async function startKillableOperator(
  world: Pick<ModuleWorld, 'api'>,
  { namespace, killPoint, run }: KillableOperatorOptions,
): Promise<KillableOperator> {
  const { client, connection } = await killableClient(world, { namespace, killPoint });
  const stop = runController(client, { ...run, gracePeriod: 0 });
  return {
    connection,
    kill: async () => {
      connection.kill();
      await stop();
    },
  };
}

/** Runs operators one after the other, each started when the one before was killed, until the signal is aborted. */
export async function restartUntilAborted(
  world: Pick<ModuleWorld, 'api'>,
  namespace: string,
  killPointOf: (run: number) => KillPoint | undefined,
  signal: AbortSignal,
): Promise<string[][]> {
  const ended = new Promise<void>((resolve) => {
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
  const runs: string[][] = [];
  while (!signal.aborted) {
    const operator = await startKillableOperator(world, { namespace, killPoint: killPointOf(runs.length) });
    await Promise.race([operator.connection.killed, ended]);
    await operator.kill();
    runs.push([...operator.connection.writes]);
  }
  return runs;
}
