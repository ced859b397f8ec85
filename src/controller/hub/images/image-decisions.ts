import type { HubImageStatus } from '../../../api/managed-cluster-module.ts';
import type { ImageState } from '../../image-pipeline/request.ts';
import type { JobGarbage } from '../../module/job-garbage.ts';
import { isSameResult, type ImageResult } from '../../module/kernel-result.ts';

/** Milliseconds until the cache should have caught up with the API server. */
export const outOfDatePause = 200;

/** What the work on an image depends on besides the image. */
export interface ImageSituation {
  /** Whether a ManagedClusterModule is known to want the image. */
  readonly isWanted: boolean;
  /** Whether all ManagedClusterModules have registered what they want. */
  readonly isComplete: boolean;
  /** Whether all have registered once since the start, or the wait for them has timed out. */
  readonly mayBegin: boolean;
}

/**
 * What to do about an image: `advance` its work, `wait` for others that may want it too, `collect` its Jobs,
 * or `leave` them, since somebody may still want it.
 */
export type ImageAction = 'advance' | 'wait' | 'collect' | 'leave';

/**
 * Decides what to do about an image. The work depends on what everyone wants of it: after a start, nothing
 * begins and nothing is deleted before all have registered.
 */
export function decideImage({ isWanted, isComplete, mayBegin }: ImageSituation): ImageAction {
  if (!isWanted) return isComplete ? 'collect' : 'leave';
  return mayBegin ? 'advance' : 'wait';
}

/** The result of checking an image, and the Jobs that can be deleted if it is true. */
export interface ImageLook {
  readonly result: ImageResult;
  readonly garbage: JobGarbage;
}

/**
 * What to do about the Jobs of an image that is wanted: `keep` them, `delete` some, or first `look-closely`,
 * bypassing all caches, since another hub may have made progress.
 */
export interface CollectionAction {
  readonly type: 'keep' | 'look-closely' | 'delete';
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
  first,
  isPersisted,
  closer,
}: {
  readonly first: ImageLook;
  /** Whether every status has the result of the first check. */
  readonly isPersisted: boolean;
  readonly closer?: ImageLook | undefined;
}): CollectionAction {
  if (first.garbage.garbage.length === 0 || !isPersisted) {
    return { type: 'keep', garbage: [], requeueAfter: first.garbage.nextAfter };
  }
  if (closer === undefined) return { type: 'look-closely', garbage: [], requeueAfter: outOfDatePause };
  // The new result is not in any status yet.
  if (!isSameResult(closer.result, first.result)) {
    return { type: 'keep', garbage: [], requeueAfter: outOfDatePause };
  }
  const { garbage, nextAfter } = closer.garbage;
  return { type: 'delete', garbage, requeueAfter: nextAfter };
}

/**
 * Returns whether the status of each ManagedClusterModule that wants an image has its current state.
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
