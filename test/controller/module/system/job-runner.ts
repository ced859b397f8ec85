import { vi } from 'vitest';
import { configMaps, type Job } from '../../../../src/controller/observe/cluster/resources.ts';
import { isApiError } from '../../../../src/controller/runtime/api/errors.ts';
import type { ModuleWorld } from '../module-world.ts';
import type { Observer } from './observer.ts';

/** A Job whose work was done. */
export interface FinishedJob {
  readonly name: string;
  readonly uid: string;
  /** Its kind and kernel, without hash and namespace. */
  readonly work: string;
  /** Digest of the image that it produced. */
  digest?: string;
}

/** Does the work of Jobs, each once, as soon as it appears. */
export interface JobRunner {
  /** Returns the Jobs of a namespace, in the order in which they appeared. */
  finished(namespace: string): readonly FinishedJob[];
}

const waiting = { timeout: 60_000, interval: 100 };

export function startJobRunner(world: ModuleWorld, observer: Observer): JobRunner {
  const finished = new Map<string, FinishedJob[]>();
  const uids = new Set<string>();
  const run = async (job: Job): Promise<void> => {
    const { namespace = '', name, uid = '', labels = {} } = job.metadata;
    // A restarted watch may report it again.
    if (uids.has(uid)) return;
    uids.add(uid);
    const kind = labels['kmm.node.kubernetes.io/job-type'];
    const kernel = labels['kmm.node.kubernetes.io/target-kernel'];
    const record: FinishedJob = { name, uid, work: `${kind} for ${kernel}` };
    const all = finished.get(namespace) ?? [];
    finished.set(namespace, [...all, record]);
    // API server and registry may be unavailable.
    await vi.waitFor(async () => {
      try {
        if (kind === 'sign') record.digest = await world.sign(job);
        else {
          const { data } = await world.client.get(configMaps, { namespace, name: 'build' });
          record.digest = await world.build(job, `${data?.['dockerfile']} for ${kernel}`);
        }
      } catch (error) {
        // The Job has been deleted.
        if (!isApiError(error, 'NOT_FOUND')) throw error;
      }
    }, waiting);
  };
  observer.onJob((job) => void run(job));
  return { finished: (namespace) => finished.get(namespace) ?? [] };
}
