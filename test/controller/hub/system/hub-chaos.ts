import { setTimeout as sleep } from 'node:timers/promises';
import type { Job } from '../../../../src/controller/observe/cluster/resources.ts';
import { ApiClient } from '../../../../src/controller/runtime/api/client.ts';
import { createConnection, loadConfig } from '../../../../src/controller/runtime/api/connection.ts';
import {
  mortalConnection,
  type Death,
  type MortalConnection,
} from '../../module/system/mortal-connection.ts';
import { hubNamespace, type HubWorld } from '../hub-world.ts';

/** A hub's operator that may die. */
export interface MortalHub {
  readonly connection: MortalConnection;
  end(): Promise<void>;
}

/** Starts a hub's operator that may die. */
export async function startMortal(world: HubWorld, death?: Death): Promise<MortalHub> {
  const connection = mortalConnection({
    connection: createConnection(await loadConfig(world.jobs.api.kubeconfig)),
    namespace: hubNamespace,
    death,
  });
  const client = new ApiClient({ connection, fieldManager: 'kmm-operator', userAgent: 'kmm-sign-tests' });
  const ended = await world.startControllers({ client });
  return {
    connection,
    async end() {
      connection.die();
      await ended();
    },
  };
}

/** Starts a hub's operator, and another one when it dies. Ends whichever there is. */
export async function startSucceeded(
  world: HubWorld,
  death: Death,
): Promise<{ readonly hasDied: boolean; end(): Promise<void> }> {
  const first = await startMortal(world, death);
  let second: MortalHub | undefined;
  let isOver = false;
  const succeeding = first.connection.died.then(async () => {
    second = isOver ? undefined : await startMortal(world);
    return second;
  });
  return {
    get hasDied() {
      return second !== undefined;
    },
    async end() {
      isOver = true;
      await first.end();
      await succeeding;
      await second?.end();
    },
  };
}

/** Does what Jobs do. */
export interface Player {
  /** Kinds of Jobs, in the order in which they were done. */
  readonly work: readonly string[];
  end(): Promise<void>;
}

/** Does what Jobs do, each once. Puts the digests of signed images down. */
export function startPlayer(world: HubWorld, signed: Set<string>): Player {
  const over = new AbortController();
  const seen = new Set<string>();
  const work: string[] = [];
  const play = async (job: Job): Promise<void> => {
    const kind = job.metadata.labels?.['kmm.node.kubernetes.io/job-type'] ?? '';
    work.push(kind);
    if (kind === 'sign') signed.add(await world.jobs.sign(job));
    else await world.jobs.build(job, job.metadata.uid);
  };
  const playing = (async () => {
    while (!over.signal.aborted) {
      for (const job of await world.jobs.jobs(hubNamespace)) {
        if (seen.has(job.metadata.uid ?? '')) continue;
        seen.add(job.metadata.uid ?? '');
        await play(job);
      }
      await sleep(20);
    }
  })();
  return {
    work,
    async end() {
      over.abort();
      await playing;
    },
  };
}
