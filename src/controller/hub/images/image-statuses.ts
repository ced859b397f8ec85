import type { HubImageStatus } from '../../../api/managed-cluster-module.ts';
import { KmmError } from '../../../shared/errors.ts';
import type { ImageState } from '../../image-pipeline/request.ts';
import { describe } from '../../module/kernel-result.ts';
import { imageIdOf, type ImageTracker } from './image-tracker.ts';
import { conflictReason, type DesiredImage } from './image-work.ts';

/**
 * Returns the images for the status of a ManagedClusterModule. One that has not been checked since the start
 * keeps its persisted entry, which says what recipe it was built from.
 * @param persisted the entries that the status has now, by image
 */
export function imageStatuses(
  desired: readonly DesiredImage[],
  tracker: Pick<ImageTracker, 'outcome' | 'latest'>,
  persisted: ReadonlyMap<string, HubImageStatus>,
): HubImageStatus[] {
  const images = new Map<string, HubImageStatus>();
  for (const { target } of desired) {
    const { image, kernel } = target;
    if (images.has(image)) continue;
    const outcome = tracker.outcome(target);
    const earlier = persisted.get(image);
    const identity = { image, kernelVersion: kernel.release };
    if (outcome instanceof KmmError) {
      const present = tracker.latest(imageIdOf(image))?.state ?? earlier;
      images.set(image, { ...identity, ...conflictState(outcome, present) });
    } else if (outcome !== undefined) images.set(image, { ...identity, ...withoutRequeue(outcome.state) });
    else if (earlier !== undefined) images.set(image, earlier);
  }
  return [...images.values()].toSorted((a, b) => (a.image < b.image ? -1 : 1));
}

/** Keeps the inputs of the present image: they show that it must be rebuilt if the conflict is resolved. */
function conflictState(
  error: KmmError,
  { inputs, unsignedDigest }: Pick<ImageState, 'inputs' | 'unsignedDigest'> = {},
): Omit<HubImageStatus, 'image'> {
  return { phase: 'Failed', reason: conflictReason, message: describe(error), inputs, unsignedDigest };
}

function withoutRequeue({ requeueAfter: _pause, ...state }: ImageState): Omit<ImageState, 'requeueAfter'> {
  return state;
}
