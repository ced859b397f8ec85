import type { HubImageStatus } from '../../../api/managed-cluster-module.ts';
import { objectOf, type CacheEvent } from '../../runtime/cache/informer.ts';
import type { JobFacts } from '../../observe/cluster/projections.ts';
import type { ImageState } from '../../image-pipeline/request.ts';
import type { JobGarbage } from '../../module/job-garbage.ts';
import { isSameResult, type ImageResult } from '../../module/kernel-result.ts';

/** Milliseconds until the cache should have caught up with the API server. */
export const outOfDatePause = 200;

/** What the work on an image depends on besides the image. */
export interface ImageSituation {
  /** Whether a ManagedClusterModule is known to use the image. */
  readonly isUsed: boolean;
  /** Whether all ManagedClusterModules have registered their images. */
  readonly isComplete: boolean;
  /** Whether all have registered once since the start, or the wait for them has timed out. */
  readonly mayStart: boolean;
}

/**
 * What to do about an image: `advance` its work, `wait` for others that may use it too, `collect` its Jobs,
 * or `keep` them, since something may still use it.
 */
export type ImageAction = 'advance' | 'wait' | 'collect' | 'keep';

/**
 * Decides what to do about an image. The work depends on everything that uses it: after a start, nothing
 * begins and nothing is deleted before all have registered.
 */
export function decideImage({ isUsed, isComplete, mayStart }: ImageSituation): ImageAction {
  if (!isUsed) return isComplete ? 'collect' : 'keep';
  return mayStart ? 'advance' : 'wait';
}

/**
 * Returns whether a change of a Job may matter to its image. What this hub has done itself does not: that a Job exists which it
 * has created, or that those of an image which is ready are gone.
 * @param known the latest outcome of the image, and the name of the Job that is being created for it
 */
export function isJobNews(
  event: CacheEvent<JobFacts>,
  known: { readonly latest: ImageState | undefined; readonly creating: string | undefined },
): boolean {
  const { latest, creating } = known;
  const { key, state, suspended, deleting } = objectOf(event);
  if (event.type === 'deleted') return latest?.phase !== 'Ready';
  if (event.type === 'updated' || state !== 'active' || suspended || deleting) return true;
  return latest?.job !== key.name && creating !== key.name;
}

/**
 * Returns whether there may be Jobs to delete now that a status has an entry for an image: not the one that the entry says
 * is running.
 */
export function mayCollect({ job }: Pick<HubImageStatus, 'job'>, owned: readonly JobFacts[]): boolean {
  return owned.some(({ key, state }) => state !== 'active' || key.name !== job);
}

/** The result of checking an image, and the Jobs that can be deleted according to it. */
export interface ImageCheck {
  readonly result: ImageResult;
  readonly garbage: JobGarbage;
}

/**
 * What to do about the Jobs of an image that is used: `keep` them, `delete` some, or first `check-uncached`,
 * bypassing all caches, since another hub may have made progress.
 */
export interface CollectionAction {
  readonly type: 'keep' | 'check-uncached' | 'delete';
  /** The Jobs to delete. */
  readonly garbage: JobGarbage['garbage'];
  /** Milliseconds until the next Job can be deleted. */
  readonly requeueAfter: number | undefined;
}

/**
 * Decides which Jobs of an image can be deleted: those that are not needed, once their result is in every
 * status and an uncached check has confirmed it.
 */
export function decideCollection({
  cached,
  isPersisted,
  uncached,
}: {
  readonly cached: ImageCheck;
  /** Whether every status has the result of the cached check. */
  readonly isPersisted: boolean;
  readonly uncached?: ImageCheck | undefined;
}): CollectionAction {
  if (cached.garbage.garbage.length === 0 || !isPersisted) {
    return { type: 'keep', garbage: [], requeueAfter: cached.garbage.nextAfter };
  }
  if (uncached === undefined) return { type: 'check-uncached', garbage: [], requeueAfter: outOfDatePause };
  // The new result is not in any status yet.
  if (!isSameResult(uncached.result, cached.result)) {
    return { type: 'keep', garbage: [], requeueAfter: outOfDatePause };
  }
  const { garbage, nextAfter } = uncached.garbage;
  return { type: 'delete', garbage, requeueAfter: nextAfter };
}

/**
 * Returns whether the status of each ManagedClusterModule that uses an image has its current state.
 * @param statuses the entries of those statuses that have one
 */
export function isPersistedIn(
  statuses: readonly HubImageStatus[],
  { phase, digest, inputs }: ImageState,
  users: number,
): boolean {
  return (
    statuses.length === users &&
    statuses.every((one) => one.phase === phase && one.digest === digest && one.inputs === inputs)
  );
}
