import type { HubImageStatus } from '../../../api/managed-cluster-module.ts';
import type { ImageState } from '../../image-pipeline/image-state.ts';
import type { JobGarbage } from '../../module/job-garbage.ts';
import { isSameResult, type ImageResult } from '../../module/kernel-result.ts';

/** Milliseconds until the cache should have what the API server has. */
export const outOfDatePause = 200;

/** What an image's work depends on besides the image. */
export interface ImageSituation {
  /** Whether a ManagedClusterModule is known to want the image. */
  readonly isWanted: boolean;
  /** Whether all ManagedClusterModules have said what they want. */
  readonly isComplete: boolean;
  /** Whether all were heard once since the start, or have been waited for long enough. */
  readonly mayBegin: boolean;
}

/**
 * What is to be done about an image: `advance` its work, `wait` for others that may want it too, `collect` its Jobs, or
 * `leave` them, since somebody may still want it.
 */
export type ImageAction = 'advance' | 'wait' | 'collect' | 'leave';

/**
 * Decides what is to be done about an image. What is done to it follows from what all want of it: after a start, nothing
 * begins and nothing is deleted before all have been heard.
 */
export function decideImage({ isWanted, isComplete, mayBegin }: ImageSituation): ImageAction {
  if (!isWanted) return isComplete ? 'collect' : 'leave';
  return mayBegin ? 'advance' : 'wait';
}

/** A look at an image, and the Jobs that can go if what it found is true. */
export interface ImageLook {
  readonly result: ImageResult;
  readonly garbage: JobGarbage;
}

/**
 * What is to be done about the Jobs of an image that is wanted: `keep` them, `delete` some, or `look-closely` first, past
 * all caches, since another hub may know better.
 */
export interface CollectionAction {
  readonly type: 'keep' | 'look-closely' | 'delete';
  /** Those to be deleted. */
  readonly garbage: JobGarbage['garbage'];
  /** Milliseconds until the next can go. */
  readonly requeueAfter: number | undefined;
}

/**
 * Decides which Jobs of an image can be deleted: those that are not needed, once what they did stands in every status, and
 * a close look has found the same.
 */
export function decideCollection({
  first,
  isPersisted,
  closer,
}: {
  readonly first: ImageLook;
  /** Whether every status says what the first look found. */
  readonly isPersisted: boolean;
  readonly closer?: ImageLook | undefined;
}): CollectionAction {
  if (first.garbage.garbage.length === 0 || !isPersisted) {
    return { type: 'keep', garbage: [], requeueAfter: first.garbage.nextAfter };
  }
  if (closer === undefined) return { type: 'look-closely', garbage: [], requeueAfter: outOfDatePause };
  // What was found just now does not stand in any status yet.
  if (!isSameResult(closer.result, first.result)) {
    return { type: 'keep', garbage: [], requeueAfter: outOfDatePause };
  }
  const { garbage, nextAfter } = closer.garbage;
  return { type: 'delete', garbage, requeueAfter: nextAfter };
}

/**
 * Whether the status of each ManagedClusterModule that wants an image says what was found out.
 * @param statuses what they say, of as many as say anything
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
