import { setTimeout as sleep } from 'node:timers/promises';
import type { Job } from '../../../../src/controller/observe/cluster/resources.ts';
import { ApiClient } from '../../../../src/controller/runtime/api/client.ts';
import { createConnection, loadConfig } from '../../../../src/controller/runtime/api/connection.ts';
import {
  killableConnection,
  type KillPoint,
  type KillableConnection,
} from '../../module/system/killable-connection.ts';
import { hubNamespace, type HubWorld } from '../hub-world.ts';

/** A hub's operator that can be killed. */
export interface KillableHub {
  readonly connection: KillableConnection;
  end(): Promise<void>;
}

/** Starts a hub's operator that can be killed. */
export async function startKillableHub(world: HubWorld, killPoint?: KillPoint): Promise<KillableHub> {
  const connection = killableConnection({
    connection: createConnection(await loadConfig(world.jobs.api.kubeconfig)),
    namespace: hubNamespace,
    killPoint,
  });
  const client = new ApiClient({ connection, fieldManager: 'kmm-operator', userAgent: 'kmm-sign-tests' });
  const ended = await world.startControllers({ client });
  return {
    connection,
    async end() {
      connection.kill();
      await ended();
    },
  };
}

/** Starts a hub's operator, and another one when it is killed. */
export async function startHubWithSuccessor(
  world: HubWorld,
  killPoint: KillPoint,
): Promise<{ readonly wasKilled: boolean; end(): Promise<void> }> {
  const first = await startKillableHub(world, killPoint);
  let second: KillableHub | undefined;
  let hasEnded = false;
  const succession = first.connection.killed.then(async () => {
    second = hasEnded ? undefined : await startKillableHub(world);
    return second;
  });
  return {
    get wasKilled() {
      return second !== undefined;
    },
    async end() {
      hasEnded = true;
      await first.end();
      await succession;
      await second?.end();
    },
  };
}

/** Does the work of Jobs. */
export interface JobRunner {
  /** Kinds of Jobs, in the order in which they were done. */
  readonly work: readonly string[];
  end(): Promise<void>;
}

/** Does the work of Jobs, each once, and records the digests of signed images. */
export function startJobRunner(world: HubWorld, signed: Set<string>): JobRunner {
  const stop = new AbortController();
  const seen = new Set<string>();
  const work: string[] = [];
  const run = async (job: Job): Promise<void> => {
    const kind = job.metadata.labels?.['kmm.node.kubernetes.io/job-type'] ?? '';
    work.push(kind);
    if (kind === 'sign') signed.add(await world.jobs.sign(job));
    else await world.jobs.build(job, job.metadata.uid);
  };
  const running = (async () => {
    while (!stop.signal.aborted) {
      for (const job of await world.jobs.jobs(hubNamespace)) {
        if (seen.has(job.metadata.uid ?? '')) continue;
        seen.add(job.metadata.uid ?? '');
        await run(job);
      }
      await sleep(20);
    }
  })();
  return {
    work,
    async end() {
      stop.abort();
      await running;
    },
  };
}
