import type { HubImageStatus } from '../../api/managed-cluster-module.ts';
import { KmmError } from '../../shared/errors.ts';
import type { ImageState } from '../image-pipeline/image-state.ts';
import { describe } from '../module/kernel-result.ts';
import { imageIdOf, type ImageBoard } from './image-board.ts';
import { conflictReason, type ImageWant } from './image-work.ts';

export interface ImageStatusesOptions {
  readonly board: Pick<ImageBoard, 'outcome' | 'last'>;
  /** What the status says now, by image. */
  readonly earlier: ReadonlyMap<string, HubImageStatus>;
}

/**
 * What the status of a ManagedClusterModule says of its images. What is not known since the start is as it was
 * persisted: it says which recipe an image was built from.
 */
export function imageStatuses(
  wants: readonly ImageWant[],
  { board, earlier }: ImageStatusesOptions,
): HubImageStatus[] {
  const images = new Map<string, HubImageStatus>();
  for (const { target } of wants) {
    const { image, kernel } = target;
    if (images.has(image)) continue;
    const outcome = board.outcome(target);
    const persisted = earlier.get(image);
    const about = { image, kernelVersion: kernel.release };
    if (outcome instanceof KmmError) {
      const stands = board.last(imageIdOf(image))?.state ?? persisted;
      images.set(image, { ...about, ...conflictState(outcome, stands) });
    } else if (outcome !== undefined) images.set(image, { ...about, ...withoutRequeue(outcome.state) });
    else if (persisted !== undefined) images.set(image, persisted);
  }
  return [...images.values()].toSorted((a, b) => (a.image < b.image ? -1 : 1));
}

/** What stands was made as others want it: should they go, it is not what this one wants. */
function conflictState(
  error: KmmError,
  { inputs, unsignedDigest }: Pick<ImageState, 'inputs' | 'unsignedDigest'> = {},
): Omit<HubImageStatus, 'image'> {
  return { phase: 'Failed', reason: conflictReason, message: describe(error), inputs, unsignedDigest };
}

function withoutRequeue({ requeueAfter: _pause, ...state }: ImageState): Omit<ImageState, 'requeueAfter'> {
  return state;
}
