import { kernelLabelValue } from '../../builder/labels.ts';
import type { JobFacts } from '../observe/cluster/projections.ts';
import { jobs } from '../observe/cluster/resources.ts';
import type { ApiClient } from '../runtime/api/client.ts';
import { ignoreOutdated } from '../runtime/api/errors.ts';
import { soonest } from '../runtime/controller.ts';

const defaultUnusedDelay = 60_000;

/** What is known about the work for one kernel. */
export interface KernelWork {
  readonly kernel: { readonly release: string; readonly version: string };
  /** Jobs of the current inputs; undefined if unknown. */
  readonly jobs: readonly string[] | undefined;
  /** Whether the image is ready, and that has been persisted. */
  readonly settled: boolean;
}

/** What is known about the work that a Job may belong to. */
type Work = Pick<KernelWork, 'jobs' | 'settled'>;

export interface JobGarbageQuery {
  readonly owned: readonly JobFacts[];
  readonly work: readonly KernelWork[];
  /** Milliseconds for which successful Jobs are kept. */
  readonly gcDelay: number;
  /**
   * Milliseconds for which Jobs of unwanted kernels are kept: another operator may already know their nodes.
   */
  readonly unusedDelay?: number | undefined;
  /** Milliseconds since 1970. */
  readonly now: number;
}

/** Jobs that can be deleted, and milliseconds until the next one can. */
export interface JobGarbage {
  readonly garbage: readonly JobFacts[];
  readonly nextAfter: number | undefined;
}

/**
 * Finds the Jobs that are no longer needed: those of inputs that have changed, of kernels that are gone, and,
 * some time after their success, those whose result is persisted.
 */
export function findJobGarbage(query: JobGarbageQuery): JobGarbage {
  const byKernel = new Map(query.work.map((one) => [kernelLabelValue(one.kernel), one]));
  return findGarbage(query, (job) => byKernel.get(job.kernel ?? ''));
}

/** Like `findJobGarbage`, with a function that finds the work of a Job; undefined if nobody wants it. */
export function findGarbage(
  query: Omit<JobGarbageQuery, 'work'>,
  workOf: (job: JobFacts) => Work | undefined,
): JobGarbage {
  const { owned, now } = query;
  const due = owned
    .filter(({ deleting }) => !deleting)
    .flatMap((job) => {
      const at = goesAt(job, workOf(job), query);
      return at === undefined ? [] : [{ job, at }];
    });
  const later = due.filter(({ at }) => at > now).map(({ at }) => at - now);
  return {
    garbage: due.filter(({ at }) => at <= now).map(({ job }) => job),
    nextAfter: soonest(later),
  };
}

/** Returns when a Job can be deleted, in milliseconds since 1970; undefined if it is still needed. */
function goesAt(
  job: JobFacts,
  work: Work | undefined,
  { gcDelay, unusedDelay = defaultUnusedDelay }: Omit<JobGarbageQuery, 'work'>,
): number | undefined {
  if (work === undefined) return Date.parse(job.created ?? '') + unusedDelay;
  if (work.jobs === undefined) return undefined;
  const isCurrent = work.jobs.includes(job.key.name);
  if (isCurrent && (!work.settled || job.state === 'active')) return undefined;
  return job.state === 'succeeded' ? Date.parse(job.ended ?? '') + gcDelay : 0;
}

/** Returns a Module's Jobs without those for kernels that only preflight validations want. */
export function withoutPreflightJobs(
  owned: readonly JobFacts[],
  { kernels, askedFor }: { readonly kernels: ReadonlySet<string>; readonly askedFor: ReadonlySet<string> },
): JobFacts[] {
  return owned.filter(({ kernel = '' }) => kernels.has(kernel) || !askedFor.has(kernel));
}

/** Deletes exactly these Jobs, with their pods. */
export async function deleteJobs(
  client: ApiClient,
  garbage: readonly JobFacts[],
  signal: AbortSignal,
): Promise<void> {
  for (const { key, uid } of garbage) {
    await client.delete(jobs, key, { uid, signal }).catch(ignoreOutdated);
  }
}
