import { kernelLabelValue } from '../../builder/labels.ts';
import type { Kernel } from '../../builder/kernel.ts';
import { deleteJobs, findJobGarbage } from '../module/job-garbage.ts';
import { soonest } from '../runtime/controller.ts';
import type { PreflightServices } from './services.ts';

/** What is known of a Module's Jobs for the kernel. */
export interface PreflightWork {
  /** Of the Module. */
  readonly uid: string;
  /** Jobs of the present inputs; undefined: not known, or the Module controller's. */
  readonly jobs: readonly string[] | undefined;
  /** The Module was verified, and that has been persisted. */
  readonly settled: boolean;
}

/**
 * Deletes the Jobs that are no longer needed, of Modules that no node with the kernel has: the Module controller does
 * so for others. @returns milliseconds until the next one can go
 */
export async function collectJobs(
  { client, caches, settings, now = Date.now }: PreflightServices,
  { kernel, work }: { readonly kernel: Kernel; readonly work: readonly PreflightWork[] },
  signal: AbortSignal,
): Promise<number | undefined> {
  const label = kernelLabelValue(kernel);
  const pauses: number[] = [];
  for (const { uid, jobs, settled } of work) {
    if (jobs === undefined) continue;
    const owned = caches.jobs.byIndex('owner', uid).filter((job) => job.kernel === label);
    const { garbage, nextAfter } = findJobGarbage({
      owned,
      work: [{ kernel, jobs, settled }],
      gcDelay: settings.gcDelay,
      now: now(),
    });
    await deleteJobs(client, garbage, signal);
    if (nextAfter !== undefined) pauses.push(nextAfter);
  }
  return soonest(pauses);
}
