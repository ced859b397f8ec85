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

/** The most images in the cache; the least recently used are evicted first. */
const maxResolutions = 10_000;

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
  /** When the result expires. */
  readonly expires: number;
}

/** A cache of what tags refer to in registries, with expiry. */
export class Resolutions {
  readonly #foundTtl: number;
  readonly #missingTtl: number;
  readonly #now: () => number;
  readonly #known = new LruMap<Resolution>(maxResolutions);
  readonly #flights = new Flights<ResolvedImage | undefined>();

  /** @param foundTtl milliseconds for which a result is valid; a digest may be deleted, too. @param now milliseconds since any fixed time */
  constructor(foundTtl: number, missingTtl: number, now: () => number) {
    this.#foundTtl = foundTtl;
    this.#missingTtl = missingTtl;
    this.#now = now;
  }

  /** Returns the cached result, or queries the registry. Errors are not cached. */
  async resolve(query: ResolutionQuery): Promise<ResolvedImage | undefined> {
    const key = keyOf(query.image, query.caller);
    const known = this.#cached(key);
    if (known !== undefined) return known.image;
    return query.admit(async (signal) => {
      // The result may have been cached while this query waited for its turn.
      const cached = this.#cached(key);
      return cached === undefined ? this.#query(key, query, signal) : cached.image;
    });
  }

  #cached(key: string): Resolution | undefined {
    const known = this.#known.get(key);
    return known !== undefined && this.#now() < known.expires ? known : undefined;
  }

  #query(key: string, { work }: ResolutionQuery, signal: AbortSignal): Promise<ResolvedImage | undefined> {
    return this.#flights.join(key, signal, async (flight) => {
      const started = this.#now();
      const found = await work(this.#known.get(key)?.image, flight.signal);
      const ttl = found === undefined ? this.#missingTtl : this.#foundTtl;
      if (!flight.isForgotten) this.#known.set(key, { image: found, expires: started + ttl });
      return found;
    });
  }

  /** Returns the milliseconds until the cached result for a caller expires, or would if there were one. */
  expiresIn(image: string, caller: string): number {
    const known = this.#known.get(keyOf(image, caller));
    return known === undefined ? this.#foundTtl : Math.max(0, known.expires - this.#now());
  }

  /** Forgets an image: the next query is sent to the registry. Results of queries in progress are not cached. */
  forget(image: string): void {
    this.#known.forget(prefixOf(image));
    this.#flights.forget(prefixOf(image));
  }

  /** Aborts work in progress. */
  close(): void {
    this.#flights.close();
  }
}

function keyOf(image: string, caller: string): string {
  return `${prefixOf(image)}${caller}`;
}

/** Returns the prefix of an image's keys: image names do not contain spaces. */
function prefixOf(image: string): string {
  return `${image} `;
}
