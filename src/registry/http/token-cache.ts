import { Flights } from '../../shared/flights.ts';
import { LruMap } from '../../shared/lru.ts';
import type { Token } from './token.ts';

/** The most tokens to keep: there is one for each repository of a registry and each set of actions. */
const maxTokens = 1000;

/** Caches tokens and shares requests for them: callers that need the same token wait for the same request. */
export class TokenCache {
  readonly #tokens = new LruMap<Token>(maxTokens);
  readonly #requests = new Flights<Token | null>();
  readonly #now: () => number;

  constructor(now: () => number) {
    this.#now = now;
  }

  /** Returns a token that is still valid. */
  get(key: string): Token | null {
    const token = this.#tokens.get(key);
    return token !== undefined && token.expiresAt > this.#now() ? token : null;
  }

  /** Removes a token that was refused, unless it has already been replaced. */
  drop(key: string, refused: Token): void {
    if (this.#tokens.get(key) === refused) this.#tokens.delete(key);
  }

  /**
   * Returns the cached token, or joins the request in flight, or sends one. A signal ends the wait, and the
   * request if nobody is waiting for it any more.
   */
  async obtain(
    key: string,
    fetch: (signal: AbortSignal) => Promise<Token | null>,
    signal: AbortSignal | undefined,
  ): Promise<Token | null> {
    const known = this.get(key);
    if (known !== null) return known;
    return this.#requests.join(key, signal, async (flight) => {
      const token = await fetch(flight.signal);
      if (token !== null) this.#tokens.set(key, token);
      return token;
    });
  }
}
