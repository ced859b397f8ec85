import type { JobFacts } from '../observe/cluster/projections.ts';
import type { ObjectKey } from '../runtime/api/object-key.ts';

/** How the tries of one piece of work stand. */
export type JobProgress = {
  /** The Job that counts, and how many failed. */
  readonly job: string;
  readonly attempts: number;
  /** All Jobs of this work, from the first try on. */
  readonly jobs: readonly string[];
} & (
  | { readonly state: 'running'; readonly problem: string | undefined; readonly reason: string | undefined }
  /** Was not admitted yet. */
  | { readonly state: 'queued' }
  | { readonly state: 'succeeded'; readonly ended: number; readonly key: ObjectKey; readonly uid: string }
  /** Waits before the next try; milliseconds. */
  | { readonly state: 'waiting'; readonly message: string; readonly wait: number }
  | { readonly state: 'failed'; readonly message: string }
);

/** Where the tries of one piece of work have come to, from the Jobs in the cluster alone. */
export type TriesStanding = {
  /** The try that counts. */
  readonly attempt: number;
  /** Names of all Jobs of this work, from the first try on. */
  readonly jobs: readonly string[];
} &
  /** The Job of the try is not there: it is to be made. */
  (
    | { readonly state: 'missing' }
    | { readonly state: 'running'; readonly found: JobFacts }
    | { readonly state: 'succeeded'; readonly found: JobFacts }
    /** Milliseconds until the try may begin; `found` is the Job that failed before. */
    | { readonly state: 'waiting'; readonly found: JobFacts; readonly wait: number }
    /** Every try failed; `found` is the last. */
    | { readonly state: 'failed'; readonly found: JobFacts }
  );

/** How often work is tried again, and when. */
export interface TryRules {
  /** Jobs tried again after the first failed. */
  readonly backoffLimit: number;
  /** Milliseconds before the second try; doubled before each further one. */
  readonly backoff: number;
  /** Milliseconds since 1970. */
  readonly now: number;
}

/**
 * Finds the try that counts: the first whose Job has not failed. Which try that is stands in the cluster, not in memory,
 * so whoever comes after a crash goes on where it stopped.
 */
export function standingOf(
  nameOf: (attempt: number) => string,
  find: (name: string) => JobFacts | undefined,
  { backoffLimit, backoff, now }: TryRules,
): TriesStanding {
  const jobs: string[] = [];
  let failed: JobFacts | undefined;
  for (let attempt = 0; ; attempt++) {
    const name = nameOf(attempt);
    const found = find(name);
    if (found === undefined && failed !== undefined) {
      const wait = Date.parse(failed.ended ?? '') + backoff * 2 ** (attempt - 1) - now;
      if (wait > 0) return { state: 'waiting', attempt, jobs, found: failed, wait };
    }
    jobs.push(name);
    if (found === undefined) return { state: 'missing', attempt, jobs };
    if (found.deleting || found.state === 'active') return { state: 'running', attempt, jobs, found };
    if (found.state === 'succeeded') return { state: 'succeeded', attempt, jobs, found };
    if (attempt >= backoffLimit) return { state: 'failed', attempt: attempt + 1, jobs, found };
    failed = found;
  }
}
