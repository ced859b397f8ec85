import { kernelLabelValue } from '../../builder/labels.ts';
import type { JobFacts } from '../observe/cluster/projections.ts';
import { jobs } from '../observe/cluster/resources.ts';
import type { ApiClient } from '../runtime/api/client.ts';
import { isApiError } from '../runtime/api/errors.ts';
import { soonest } from '../runtime/controller.ts';

const defaultUnusedDelay = 60_000;

/** What is known of the work for one kernel. */
export interface KernelWork {
  readonly kernel: { readonly release: string; readonly version: string };
  /** Jobs of the present inputs; undefined: not known. */
  readonly jobs: readonly string[] | undefined;
  /** The image is ready, and that has been persisted. */
  readonly settled: boolean;
}

/** What is known of the work that a Job may belong to. */
type Work = Pick<KernelWork, 'jobs' | 'settled'>;

export interface JobGarbageQuery {
  readonly owned: readonly JobFacts[];
  readonly work: readonly KernelWork[];
  /** Milliseconds for which Jobs that succeeded are kept. */
  readonly gcDelay: number;
  /** Milliseconds for which Jobs are kept whose kernel nobody asks for: another operator may know of its nodes already. */
  readonly unusedDelay?: number | undefined;
  /** Milliseconds since 1970. */
  readonly now: number;
}

/** Jobs that can go, and milliseconds until the next one can. */
export interface JobGarbage {
  readonly garbage: readonly JobFacts[];
  readonly nextAfter: number | undefined;
}

/**
 * Finds the Jobs that are no longer needed: those of inputs that have changed, of kernels that are gone, and, some
 * time after they succeeded, those whose result is persisted.
 */
export function findJobGarbage(query: JobGarbageQuery): JobGarbage {
  const byKernel = new Map(query.work.map((one) => [kernelLabelValue(one.kernel), one]));
  return findGarbage(query, (job) => byKernel.get(job.kernel ?? ''));
}

/** As `findJobGarbage`, for Jobs whose work is found in another way. Undefined: nobody wants it. */
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

/** When a Job can go, in milliseconds since 1970; undefined: not as things are. */
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

/** Returns a Module's Jobs without those for kernels that only preflight validations ask about. */
export function withoutPreflightJobs(
  owned: readonly JobFacts[],
  { kernels, askedFor }: { readonly kernels: ReadonlySet<string>; readonly askedFor: ReadonlySet<string> },
): JobFacts[] {
  return owned.filter(({ kernel = '' }) => kernels.has(kernel) || !askedFor.has(kernel));
}

/** Deletes Jobs, these very ones, with their pods. */
export async function deleteJobs(
  client: ApiClient,
  garbage: readonly JobFacts[],
  signal: AbortSignal,
): Promise<void> {
  for (const { key, uid } of garbage) {
    await client.delete(jobs, key, { uid, signal }).catch((error: unknown) => {
      if (!isApiError(error, 'NOT_FOUND', 'CONFLICT')) throw error;
    });
  }
}
