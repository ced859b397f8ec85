import { Flights } from '../../../shared/flights.ts';
import { LruMap } from '../../../shared/lru.ts';
import type { Admit } from './lookups.ts';

/** A query whose result never changes. */
export interface CachedQuery<T> {
  /** The subject: equal keys have equal results forever. */
  readonly key: string;
  /** The caller: an error is only shared by equal callers. */
  readonly caller: string;
  /** Waits for its turn; a result that is cached by then is used. */
  readonly admit: Admit;
  readonly work: (signal: AbortSignal) => Promise<T>;
}

/** A cache of results that never change, each computed once. */
export class ResultCache<T> {
  readonly #results: LruMap<T>;
  readonly #flights = new Flights<T>();

  constructor(limit: number) {
    this.#results = new LruMap(limit);
  }

  /** Returns the result. Errors are not cached. */
  async get({ key, caller, admit, work }: CachedQuery<T>): Promise<T> {
    const known = this.#results.get(key);
    if (known !== undefined) return known;
    return admit(async (signal) => {
      // The result may have been cached while this query waited for its turn.
      const cached = this.#results.get(key);
      if (cached !== undefined) return cached;
      return this.#flights.join(JSON.stringify([key, caller]), signal, async (flight) => {
        const result = await work(flight.signal);
        this.#results.set(key, result);
        return result;
      });
    });
  }

  /** Aborts work in progress. */
  close(): void {
    this.#flights.close();
  }
}
