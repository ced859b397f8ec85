import type { JobFacts } from '../observe/cluster/projections.ts';
import type { ObjectKey } from '../runtime/api/object-key.ts';

/** The progress of one piece of work over its attempts. */
export type JobProgress = {
  /** The Job of the current attempt, and the number of attempts that failed. */
  readonly job: string;
  readonly attempts: number;
  /** All Jobs of this work, from the first attempt on. */
  readonly jobs: readonly string[];
} & (
  | { readonly state: 'running'; readonly problem: string | undefined; readonly reason: string | undefined }
  /** The Job has not been admitted yet. */
  | { readonly state: 'queued' }
  | {
      readonly state: 'succeeded';
      readonly ended: number;
      readonly key: ObjectKey;
      readonly uid: string;
      /** Digest of the image that it pushed; undefined if its pod no longer exists. */
      readonly pushed: string | undefined;
    }
  /** The pause before the next attempt; milliseconds. */
  | { readonly state: 'waiting'; readonly message: string; readonly wait: number }
  | {
      readonly state: 'failed';
      readonly message: string;
      /** Jobs to delete so that the work is repeated, since a Secret that they used has changed. */
      readonly outdated: readonly { readonly key: ObjectKey; readonly uid: string }[];
    }
);

/** The state of the attempts of one piece of work, derived only from the Jobs in the cluster. */
export type JobAttempts = {
  /** The current attempt. */
  readonly attempt: number;
  /** Names of all Jobs of this work, from the first attempt on. */
  readonly jobs: readonly string[];
} &
  /** The Job of the attempt does not exist: it has to be created. */
  (
    | { readonly state: 'missing' }
    | { readonly state: 'running'; readonly found: JobFacts }
    | { readonly state: 'succeeded'; readonly found: JobFacts }
    /** Milliseconds until the attempt may begin; `found` is the Job that failed before. */
    | { readonly state: 'waiting'; readonly found: JobFacts; readonly wait: number }
    /** All attempts failed; `found` is the last. */
    | { readonly state: 'failed'; readonly found: JobFacts }
  );

/** How often and when work is retried. */
export interface RetryPolicy {
  /** The number of retries after the first Job failed. */
  readonly backoffLimit: number;
  /** Milliseconds before the first retry, doubled for each further one. */
  readonly backoff: number;
  /** Milliseconds since 1970. */
  readonly now: number;
}

/**
 * Finds the current attempt: the first whose Job has not failed. The cluster knows which one that is, not
 * memory, so that work continues where it stopped after a crash.
 */
export function findCurrentAttempt(
  nameOf: (attempt: number) => string,
  find: (name: string) => JobFacts | undefined,
  { backoffLimit, backoff, now }: RetryPolicy,
): JobAttempts {
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
