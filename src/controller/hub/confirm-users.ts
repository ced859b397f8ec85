import { parseManagedClusterModule } from '../../api/managed-cluster-module.ts';
import { OutOfDate } from '../module/out-of-date.ts';
import { isSameValue } from '../runtime/same-value.ts';
import type { ApiClient } from '../runtime/api/client.ts';
import { isApiError } from '../runtime/api/errors.ts';
import type { CachedManagedClusterModule } from './caches.ts';
import { viewVersionOf } from './module-view.ts';
import { managedClusterModules } from './resources.ts';

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
