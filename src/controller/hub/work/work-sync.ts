import { manifestWorks } from '../fleet/resources.ts';
import type { ApiClient } from '../../runtime/api/client.ts';
import { isApiError } from '../../runtime/api/errors.ts';
import { formatKey } from '../../runtime/api/object-key.ts';
import type { HubCaches } from '../fleet/caches.ts';
import type { DesiredManifestWork } from './manifest-work.ts';
import type { CachedManifestWork } from '../fleet/cached-manifest-work.ts';
import { throwNamespaceError } from '../fleet/errors.ts';

/** What was written, until the cache has seen it. */
interface Written {
  readonly specHash: string;
  readonly generation: number;
  /** Milliseconds since 1970. */
  readonly until: number;
}

/** Milliseconds that the cache may be behind. */
const maxLag = 60_000;

/** Keeps ManifestWorks as they should be, with as few requests as can be. */
export class WorkSync {
  readonly #client: ApiClient;
  readonly #cache: HubCaches['manifestWorks'];
  readonly #written = new Map<string, Written>();

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
   * Writes a ManifestWork if it is not as it should be.
   * @returns the cached one, if nothing is to be written
   * @throws ApiError, HubError CLUSTER_NAMESPACE_MISSING, CLUSTER_NAMESPACE_TERMINATING
   */
  async apply(
    { object, specHash }: DesiredManifestWork,
    signal: AbortSignal,
  ): Promise<CachedManifestWork | undefined> {
    const cached = this.#cache.get(object.metadata);
    const text = formatKey(object.metadata);
    const written = this.#written.get(text);
    if (written?.specHash === specHash && written.until > Date.now()) return undefined;
    const [owner] = object.metadata.ownerReferences ?? [];
    if (cached?.specHash === specHash && cached.ownerUid === owner?.uid) return cached;
    // One that is not ours, with our name by chance, is not taken over.
    const options = { force: cached !== undefined, signal };
    const { metadata } = await this.#client
      .apply(manifestWorks, object, options)
      .catch((error: unknown) => throwNamespaceError(error, object.metadata));
    const { generation = 0 } = metadata;
    // Others may add fields: then it is as it should be, and has another hash.
    if (cached?.generation === generation) return cached;
    const seen = this.#cache.get(metadata)?.generation ?? -1;
    if (seen < generation) this.#written.set(text, { specHash, generation, until: Date.now() + maxLag });
    return undefined;
  }

  /** Deletes a ManifestWork: the agent takes what it holds from the cluster. */
  async delete({ key, uid, deleting }: CachedManifestWork, signal: AbortSignal): Promise<void> {
    if (deleting) return;
    this.#written.delete(formatKey(key));
    await this.#client.delete(manifestWorks, key, { uid, signal }).catch((error: unknown) => {
      if (!isApiError(error, 'NOT_FOUND', 'CONFLICT')) throw error;
    });
  }
}
