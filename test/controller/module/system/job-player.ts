import { vi } from 'vitest';
import { configMaps, type Job } from '../../../../src/controller/observe/cluster/resources.ts';
import { isApiError } from '../../../../src/controller/runtime/api/errors.ts';
import type { ModuleWorld } from '../module-world.ts';
import type { Witness } from './witness.ts';

/** A Job that appeared. */
export interface PlayedJob {
  readonly name: string;
  readonly uid: string;
  /** What it does, in words in which no hash and no namespace occurs. */
  readonly work: string;
  /** Digest of the image that it made. */
  digest?: string;
}

/** Does what Jobs would do, each Job once, as soon as it appears. */
export interface JobPlayer {
  /** The Jobs of a namespace, in the order in which they appeared. */
  played(namespace: string): readonly PlayedJob[];
}

const patience = { timeout: 60_000, interval: 100 };

export function startJobPlayer(world: ModuleWorld, witness: Witness): JobPlayer {
  const played = new Map<string, PlayedJob[]>();
  const uids = new Set<string>();
  const play = async (job: Job): Promise<void> => {
    const { namespace = '', name, uid = '', labels = {} } = job.metadata;
    // A watch that begins anew may tell of it again.
    if (uids.has(uid)) return;
    uids.add(uid);
    const kind = labels['kmm.node.kubernetes.io/job-type'];
    const kernel = labels['kmm.node.kubernetes.io/target-kernel'];
    const record: PlayedJob = { name, uid, work: `${kind} for ${kernel}` };
    const all = played.get(namespace) ?? [];
    played.set(namespace, [...all, record]);
    // API server and registry may be away.
    await vi.waitFor(async () => {
      try {
        if (kind === 'sign') record.digest = await world.sign(job);
        else {
          const { data } = await world.client.get(configMaps, { namespace, name: 'build' });
          record.digest = await world.build(job, `${data?.['dockerfile']} for ${kernel}`);
        }
      } catch (error) {
        // Nobody waits for it any more.
        if (!isApiError(error, 'NOT_FOUND')) throw error;
      }
    }, patience);
  };
  witness.onJob((job) => void play(job));
  return { played: (namespace) => played.get(namespace) ?? [] };
}
