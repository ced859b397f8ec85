import { type HubImageStatus, parseManagedClusterModule } from '../../../api/managed-cluster-module.ts';
import { KmmError } from '../../../shared/errors.ts';
import type { ImageState } from '../../image-pipeline/image-state.ts';
import { describe } from '../../module/kernel-result.ts';
import { imageIdOf, type ImageBoard } from './image-board.ts';
import { conflictReason, type ImageWant } from './image-work.ts';
import { OutOfDate } from '../../module/named-module.ts';
import { isSameValue } from '../../runtime/same-value.ts';
import type { ApiClient } from '../../runtime/api/client.ts';
import { isApiError } from '../../runtime/api/errors.ts';
import { managedClusterModules } from '../fleet/resources.ts';
import { type CachedManagedClusterModule, viewVersionOf } from '../fleet/cached-managed-cluster-module.ts';

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

/**
 * Asks the API server whether ManagedClusterModules still are as the cache has them, as far as an image is
 * concerned: their status says of it the same. Status is written before Jobs are deleted, so whoever sees no Job,
 * and then this, knows that no other hub has made that Job and cleared it up.
 * @throws OutOfDate, ApiError
 */
export async function confirmUsers(
  client: ApiClient,
  { users, image }: { readonly users: readonly CachedManagedClusterModule[]; readonly image: string },
  signal: AbortSignal,
): Promise<void> {
  for (const { key, resource } of users) {
    const found = await client.get(managedClusterModules, key, { signal }).catch((error: unknown) => {
      if (isApiError(error, 'NOT_FOUND')) return undefined;
      throw error;
    });
    const current = found === undefined ? undefined : parseManagedClusterModule(found);
    const isSame =
      current !== undefined &&
      resource !== undefined &&
      viewVersionOf(current) === viewVersionOf(resource) &&
      isSameValue(entryOf(current, image), entryOf(resource, image));
    if (!isSame) throw new OutOfDate(`the ManagedClusterModule ${key.name} has changed`);
  }
}

type Resource = NonNullable<CachedManagedClusterModule['resource']>;

function entryOf({ status }: Resource, image: string): unknown {
  return status?.images?.find((entry) => entry.image === image);
}
