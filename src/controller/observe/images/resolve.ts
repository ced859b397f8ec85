import type { Digest } from '../../../registry/model/digest.ts';
import { RegistryError } from '../../../registry/model/errors.ts';
import { readImageConfig } from '../../../registry/image/config.ts';
import type { ImageRepository } from '../../../registry/image/repository.ts';
import type { Selector } from '../../../registry/model/reference.ts';
import type { Manifest } from '../../../registry/model/manifest.ts';
import { isImageConfigType } from '../../../registry/model/media-types.ts';
import { Flights } from '../../../shared/flights.ts';
import { LruMap } from '../../../shared/lru.ts';
import type { Admit } from './lookups.ts';
import { isUnknownPlatform, normalizePlatform } from '../../../registry/model/platform.ts';

/** What a tag or digest refers to. */
export interface ResolvedImage {
  readonly digest: Digest;
  /** GOARCH; undefined if the image does not say. */
  readonly architectures: readonly string[] | undefined;
}

/**
 * Queries a registry for an image; undefined if it says that there is none. With `known`, a HEAD request
 * checks whether the image is unchanged.
 * @throws RegistryError
 */
export async function resolveImage(
  repository: ImageRepository,
  selector: Selector,
  known: ResolvedImage | undefined,
  signal: AbortSignal,
): Promise<ResolvedImage | undefined> {
  try {
    if (known !== undefined) {
      const { digest } = await repository.resolve(selector, { signal });
      if (digest === known.digest) return known;
    }
    const manifest = await repository.getManifest(selector, { signal });
    return {
      digest: manifest.raw.digest,
      architectures: await architecturesOf(manifest, repository, signal),
    };
  } catch (error) {
    if (error instanceof RegistryError && error.code === 'NOT_FOUND') return undefined;
    throw error;
  }
}

async function architecturesOf(
  manifest: Manifest,
  repository: ImageRepository,
  signal: AbortSignal,
): Promise<string[] | undefined> {
  if (manifest.kind === 'image') {
    if (!isImageConfigType(manifest.config.mediaType)) return undefined;
    const { platform } = await readImageConfig(repository, manifest, { signal });
    return platform === undefined ? undefined : [normalizePlatform(platform).architecture];
  }
  const architectures = manifest.manifests
    .filter(({ platform }) => platform === undefined || !isUnknownPlatform(platform))
    .map(({ platform }) => platform && normalizePlatform(platform).architecture);
  const stated = architectures.filter((architecture) => architecture !== undefined);
  return stated.length < architectures.length ? undefined : [...new Set(stated)];
}

/** The most images in the cache, and callers of one; the least recently used are evicted first. */
const [maxImages, maxCallers] = [10_000, 100];

/** A query for an image. */
export interface ResolutionQuery {
  readonly image: string;
  /** The caller: only equal callers share a result. */
  readonly caller: string;
  /** Waits for its turn; a result that is cached by then is used. */
  readonly admit: Admit;
  /** Queries the registry. `known` is its previous response. */
  readonly work: (
    known: ResolvedImage | undefined,
    signal: AbortSignal,
  ) => Promise<ResolvedImage | undefined>;
}

interface Resolution {
  readonly image: ResolvedImage | undefined;
  /** When the result expires; undefined once it is forgotten. */
  expires: number | undefined;
}

/** A cache of what tags refer to in registries, with expiry. */
export class Resolutions {
  readonly #foundTtl: number;
  readonly #missingTtl: number;
  readonly #now: () => number;
  /** By image, then by caller. */
  readonly #known = new LruMap<LruMap<Resolution>>(maxImages);
  readonly #flights = new Flights<ResolvedImage | undefined>();

  /** @param foundTtl milliseconds for which a result is valid; a digest may be deleted, too. @param now milliseconds since any fixed time */
  constructor(foundTtl: number, missingTtl: number, now: () => number) {
    this.#foundTtl = foundTtl;
    this.#missingTtl = missingTtl;
    this.#now = now;
  }

  /** Returns the cached result, or queries the registry. Errors are not cached. */
  async resolve(query: ResolutionQuery): Promise<ResolvedImage | undefined> {
    const known = this.#cached(query);
    if (known !== undefined) return known.image;
    return query.admit(async (signal) => {
      // The result may have been cached while this query waited for its turn.
      const cached = this.#cached(query);
      return cached === undefined ? this.#query(query, signal) : cached.image;
    });
  }

  #latest({ image, caller }: Pick<ResolutionQuery, 'image' | 'caller'>): Resolution | undefined {
    return this.#known.get(image)?.get(caller);
  }

  #cached(query: ResolutionQuery): Resolution | undefined {
    const known = this.#latest(query);
    return known?.expires !== undefined && this.#now() < known.expires ? known : undefined;
  }

  #query(query: ResolutionQuery, signal: AbortSignal): Promise<ResolvedImage | undefined> {
    const { image, caller } = query;
    return this.#flights.join(`${prefixOf(image)}${caller}`, signal, async (flight) => {
      const started = this.#now();
      const found = await query.work(this.#latest(query)?.image, flight.signal);
      const ttl = found === undefined ? this.#missingTtl : this.#foundTtl;
      if (!flight.isForgotten) this.#cache(query, { image: found, expires: started + ttl });
      return found;
    });
  }

  #cache({ image, caller }: ResolutionQuery, resolution: Resolution): void {
    const callers = this.#known.get(image) ?? new LruMap<Resolution>(maxCallers);
    callers.set(caller, resolution);
    this.#known.set(image, callers);
  }

  /** Returns the milliseconds until the cached result for a caller expires, or would if there were one. */
  expiresIn(image: string, caller: string): number {
    const known = this.#latest({ image, caller });
    return known?.expires === undefined ? this.#foundTtl : Math.max(0, known.expires - this.#now());
  }

  /**
   * Forgets an image: the next query is sent to the registry. It only asks for the digest if there was a result, since the
   * same digest means the same image. Results of queries in progress are not cached.
   */
  forget(image: string): void {
    for (const resolution of this.#known.get(image)?.values() ?? []) resolution.expires = undefined;
    this.#flights.forget(prefixOf(image));
  }

  /** Aborts work in progress. */
  close(): void {
    this.#flights.close();
  }
}

/** Returns the prefix of the keys of an image's flights: image names do not contain spaces. */
function prefixOf(image: string): string {
  return `${image} `;
}
