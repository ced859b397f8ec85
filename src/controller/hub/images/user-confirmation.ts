import { parseManagedClusterModule } from '../../../api/managed-cluster-module.ts';
import { abortable } from '../../../shared/abortable.ts';
import { FreshReads } from '../../../shared/flights.ts';
import { OutOfDate } from '../../module/named-module.ts';
import type { ApiClient } from '../../runtime/api/client.ts';
import { findByName } from '../../runtime/api/list.ts';
import { formatKey, parseKey, type ObjectMetadata } from '../../runtime/api/object-key.ts';
import { metadataOf } from '../../runtime/api/resource.ts';
import { isSameValue } from '../../runtime/same-value.ts';
import {
  managedClusterModules,
  viewVersionOf,
  type CachedManagedClusterModule,
} from '../fleet/managed-cluster-modules.ts';

/** Checks with the API server that the users of an image are still as cached, before Jobs are created or deleted. */
export class UserConfirmation {
  readonly #client: ApiClient;
  readonly #metadata: FreshReads<ObjectMetadata | undefined>;

  constructor(client: ApiClient) {
    this.#client = client;
    this.#metadata = new FreshReads(async (key) => {
      const found = await findByName(client, metadataOf(managedClusterModules), parseKey(key));
      return found?.metadata;
    });
  }

  /**
   * Checks that ManagedClusterModules are still as cached, as far as an image is concerned: their status has
   * the same entry for it. Status is written before Jobs are deleted, so if there is no Job and then this check
   * succeeds, no other hub has created that Job and deleted it again.
   * @throws OutOfDate, ApiError
   */
  async confirm(
    { users, image }: { readonly users: readonly CachedManagedClusterModule[]; readonly image: string },
    signal: AbortSignal,
  ): Promise<void> {
    const checks = users.map(async (user) => {
      const { key, metadata } = user;
      const current = await this.#metadata.read(formatKey(key));
      const isUnchanged =
        current?.uid === metadata.uid && current?.resourceVersion === metadata.resourceVersion;
      if (isUnchanged || (await this.#isSame(user, image, signal))) return;
      throw new OutOfDate(`the ManagedClusterModule ${key.name} has changed`);
    });
    await abortable(Promise.all(checks), signal);
  }

  /** Tells whether only other parts of a ManagedClusterModule have changed. */
  async #isSame(
    { key, resource }: CachedManagedClusterModule,
    image: string,
    signal: AbortSignal,
  ): Promise<boolean> {
    const found = await findByName(this.#client, managedClusterModules, key, { signal });
    if (found === undefined || resource === undefined) return false;
    const current = parseManagedClusterModule(found);
    return (
      viewVersionOf(current) === viewVersionOf(resource) &&
      isSameValue(entryOf(current, image), entryOf(resource, image))
    );
  }
}

type Resource = NonNullable<CachedManagedClusterModule['resource']>;

function entryOf({ status }: Resource, image: string): unknown {
  return status?.images?.find((entry) => entry.image === image);
}
