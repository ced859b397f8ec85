import { controllerUidOf, manifestWorks } from '../fleet/manifest-works.ts';
import type { ApiClient } from '../../runtime/api/client.ts';
import { ignoreOutdated, isApiError } from '../../runtime/api/errors.ts';
import { formatKey } from '../../runtime/api/object-key.ts';
import { metadataOf } from '../../runtime/api/resource.ts';
import type { CustomResource } from '../../observe/cluster/resources.ts';
import type { HubCaches } from '../fleet/caches.ts';
import type { DesiredManifestWork } from './manifest-work.ts';
import type { CachedManifestWork } from '../fleet/manifest-works.ts';
import { throwNamespaceError } from '../fleet/errors.ts';

/** What was written, until the cache has seen it. */
export interface PendingWrite {
  readonly specHash: string;
  readonly generation: number;
  /** Milliseconds since 1970. */
  readonly until: number;
}

/**
 * Has the API server forget who manages which fields of an object, and keep no such records from then on. They are a third
 * of a ManifestWork, and make each update and each report of an agent cost a quarter more.
 */
const withoutFieldManagers = { managedFields: [{}] };

/** The longest that the cache may lag behind, in milliseconds. */
const maxLag = 60_000;

/**
 * What to do about a ManifestWork: `create` it, `update` its spec, `adopt` one that another
 * ManagedClusterModule of the same name owned, `keep` it as it is, or `wait` until the cache has what was
 * written.
 */
export type WorkAction = 'create' | 'update' | 'adopt' | 'keep' | 'wait';

/**
 * Decides what to do about a ManifestWork.
 * @param known the cached one, what was written last, and the time in milliseconds since 1970
 */
export function decideWork(
  { object, specHash }: DesiredManifestWork,
  known: {
    readonly cached: CachedManifestWork | undefined;
    readonly written: PendingWrite | undefined;
    readonly now: number;
  },
): WorkAction {
  const { cached, written, now } = known;
  if (written?.specHash === specHash && written.until > now) return 'wait';
  if (cached === undefined) return 'create';
  if (cached.ownerUid !== controllerUidOf(object.metadata)) return 'adopt';
  return cached.specHash === specHash ? 'keep' : 'update';
}

/** Keeps ManifestWorks up to date, with as few requests as possible. */
export class WorkSync {
  readonly #client: ApiClient;
  readonly #cache: HubCaches['manifestWorks'];
  readonly #written = new Map<string, PendingWrite>();

  constructor(client: ApiClient, { manifestWorks: cache }: Pick<HubCaches, 'manifestWorks'>) {
    this.#client = client;
    this.#cache = cache;
    cache.onEvent((event) => {
      const text = formatKey(event.key);
      const { generation = 0 } = this.#written.get(text) ?? {};
      if (event.type === 'deleted' || event.object.generation >= generation) this.#written.delete(text);
    });
  }

  /**
   * Writes a ManifestWork if it is not up to date.
   * @returns the cached one if it is up to date, undefined if it was just written
   * @throws ApiError, HubError CLUSTER_NAMESPACE_MISSING, CLUSTER_NAMESPACE_TERMINATING
   */
  async apply(
    { object, specHash }: DesiredManifestWork,
    signal: AbortSignal,
  ): Promise<CachedManifestWork | undefined> {
    const cached = this.#cache.get(object.metadata);
    const text = formatKey(object.metadata);
    const action = decideWork(
      { object, specHash },
      { cached, written: this.#written.get(text), now: Date.now() },
    );
    if (action === 'wait') return undefined;
    if (action === 'keep') return cached;
    const written = await this.#write(object, action, { uid: cached?.uid, signal }).catch((error: unknown) =>
      throwNamespaceError(error, object.metadata),
    );
    if (written === undefined) return undefined;
    const { generation = 0 } = written.metadata;
    // Others may have added fields: it is up to date then, but has a different hash.
    if (cached?.generation === generation) return cached;
    const seen = this.#cache.get(object.metadata)?.generation ?? -1;
    if (seen < generation) this.#written.set(text, { specHash, generation, until: Date.now() + maxLag });
    return undefined;
  }

  /** @returns its metadata; undefined if it is no longer as cached, as the cache is about to learn */
  async #write(
    object: CustomResource,
    action: WorkAction,
    { uid, signal }: { readonly uid: string | undefined; readonly signal: AbortSignal },
  ): Promise<Pick<CustomResource, 'metadata'> | undefined> {
    const resource = metadataOf(manifestWorks);
    const adopt = (force: boolean) => this.#client.apply(resource, object, { force, signal });
    if (action === 'adopt') return adopt(true);
    // Creating and patching cost the API server much less than server-side apply does.
    if (action === 'update') {
      const patch = { metadata: { uid, ...withoutFieldManagers }, spec: object.spec };
      return this.#client.patch(resource, object.metadata, patch, { signal }).catch(ignoreOutdated);
    }
    try {
      return await this.#client.create(resource, object, { signal });
    } catch (error) {
      if (!isApiError(error, 'ALREADY_EXISTS')) throw error;
      // Ours, without the label by which the cache finds it; or a foreign one that has our name by chance.
      const { metadata } = await this.#client.get(resource, object.metadata, { signal });
      return adopt(controllerUidOf(metadata) === controllerUidOf(object.metadata));
    }
  }

  /** Deletes a ManifestWork: the agent then removes its manifests from the cluster. */
  async delete({ key, uid, deleting }: CachedManifestWork, signal: AbortSignal): Promise<void> {
    if (deleting) return;
    this.#written.delete(formatKey(key));
    await this.#client.delete(manifestWorks, key, { uid, signal }).catch(ignoreOutdated);
  }
}
