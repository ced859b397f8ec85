import { Flights } from '../../../shared/flights.ts';
import { LruMap } from '../../../shared/lru.ts';
import type { Admit } from './looks.ts';
import type { ResolvedImage } from './resolve.ts';

/** A query that is answered once. */
export interface Question<T> {
  /** The subject: equal keys have equal results forever. */
  readonly key: string;
  /** The caller: an error is only shared by equal callers. */
  readonly caller: string;
  /** Waits for its turn; a result that is cached by then is used. */
  readonly admit: Admit;
  readonly work: (signal: AbortSignal) => Promise<T>;
}

/** A cache of results that never change, each computed once. */
export class Remembered<T> {
  readonly #answers: LruMap<T>;
  readonly #flights = new Flights<T>();

  constructor(limit: number) {
    this.#answers = new LruMap(limit);
  }

  /** Returns the result. Errors are not cached. */
  async ask({ key, caller, admit, work }: Question<T>): Promise<T> {
    const known = this.#answers.get(key);
    if (known !== undefined) return known;
    return admit(async (signal) => {
      // The result may have been cached while this query waited for its turn.
      const answered = this.#answers.get(key);
      if (answered !== undefined) return answered;
      return this.#flights.join(JSON.stringify([key, caller]), signal, async (flight) => {
        const answer = await work(flight.signal);
        this.#answers.set(key, answer);
        return answer;
      });
    });
  }

  /** Aborts work in progress. */
  close(): void {
    this.#flights.close();
  }
}

/** The most images in the cache; the least recently used are evicted first. */
const limit = 10_000;

export interface ResolutionsOptions {
  /** Milliseconds for which a result is valid. */
  readonly foundTtl: number;
  readonly missingTtl: number;
  /** Milliseconds since any fixed time. */
  readonly now: () => number;
}

/** A query for an image. */
export interface ResolutionQuery {
  readonly image: string;
  /** The caller: only equal callers share a result. */
  readonly caller: string;
  /** Whether it names a digest: then the result never changes. */
  readonly isPinned: boolean;
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
  readonly until: number;
}

/** A cache of what tags refer to in registries, with expiry. */
export class Resolutions {
  readonly #options: ResolutionsOptions;
  readonly #known = new LruMap<Resolution>(limit);
  readonly #flights = new Flights<ResolvedImage | undefined>();

  constructor(options: ResolutionsOptions) {
    this.#options = options;
  }

  /** Returns the cached result, or queries the registry. Errors are not cached. */
  async resolve(query: ResolutionQuery): Promise<ResolvedImage | undefined> {
    const key = `${prefixOf(query.image)}${query.caller}`;
    const known = this.#fresh(key);
    if (known !== undefined) return known.image;
    return query.admit(async (signal) => {
      // The result may have been cached while this query waited for its turn.
      const answered = this.#fresh(key);
      return answered === undefined ? this.#ask(key, query, signal) : answered.image;
    });
  }

  #fresh(key: string): Resolution | undefined {
    const known = this.#known.get(key);
    return known !== undefined && this.#options.now() < known.until ? known : undefined;
  }

  #ask(
    key: string,
    { isPinned, work }: ResolutionQuery,
    signal: AbortSignal,
  ): Promise<ResolvedImage | undefined> {
    const { now, foundTtl, missingTtl } = this.#options;
    return this.#flights.join(key, signal, async (flight) => {
      const asked = now();
      const found = await work(this.#known.get(key)?.image, flight.signal);
      const ttl = found === undefined ? missingTtl : isPinned ? Number.POSITIVE_INFINITY : foundTtl;
      if (!flight.isForgotten) this.#known.set(key, { image: found, until: asked + ttl });
      return found;
    });
  }

  /** Forgets an image: the next query asks the registry. Results of queries in progress are not cached. */
  forget(image: string): void {
    this.#known.forget(prefixOf(image));
    this.#flights.forget(prefixOf(image));
  }

  /** Aborts work in progress. */
  close(): void {
    this.#flights.close();
  }
}

/** Returns the prefix of an image's keys: image names do not contain spaces. */
function prefixOf(image: string): string {
  return `${image} `;
}
