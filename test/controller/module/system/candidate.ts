import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { LeaderElection } from '../../../../src/controller/runtime/leader/leader-election.ts';
import type { ModuleWorld } from '../module-world.ts';
import { runController } from '../run-controller.ts';
import type { KillableConnection } from './killable-connection.ts';
import { killableClient } from './killable-operator.ts';

/** An operator that works only while it leads. */
export interface Candidate {
  readonly connection: KillableConnection;
  isLeading(): boolean;
  /** Settles when it no longer leads and has stopped trying. */
  readonly ended: Promise<void>;
}

/** Starts an operator that waits to be the leader of a namespace. */
export async function startCandidate(
  world: Pick<ModuleWorld, 'api'>,
  { namespace, signal }: { readonly namespace: string; readonly signal: AbortSignal },
): Promise<Candidate> {
  const { client, connection } = await killableClient(world, { namespace });
  const election = new LeaderElection({
    client,
    lease: { namespace: 'default', name: namespace },
    identity: randomUUID(),
    leaseDuration: 2000,
    renewDeadline: 1200,
    retryPeriod: 200,
  });
  const running = election.run(async ({ stop }) => {
    const stopController = runController(client, { gracePeriod: 0 });
    if (!stop.aborted) await once(stop, 'abort');
    await stopController();
  }, signal);
  return {
    connection,
    isLeading: () => election.isLeader,
    ended: running.then(() => connection.kill()),
  };
}
