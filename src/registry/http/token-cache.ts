import { Flights } from '../../shared/flights.ts';
import { LruMap } from '../../shared/lru.ts';
import type { Token } from './token.ts';

/** Tokens that are kept: for each repository of a registry and what is done there, one. */
const maxTokens = 1000;

/** Tokens in use, and those on their way: whoever needs the same one waits for the same request. */
export class TokenCache {
  readonly #tokens = new LruMap<Token>(maxTokens);
  readonly #requests = new Flights<Token | null>();
  readonly #now: () => number;

  constructor(now: () => number) {
    this.#now = now;
  }

  /** A token that is still good. */
  get(key: string): Token | null {
    const token = this.#tokens.get(key);
    return token !== undefined && token.expiresAt > this.#now() ? token : null;
  }

  /** Forgets a token that was refused, unless it has been replaced already. */
  drop(key: string, refused: Token): void {
    if (this.#tokens.get(key) === refused) this.#tokens.delete(key);
  }

  /**
   * Returns the token in use, or that of the request on its way, or sends one. A signal ends the waiting, and the
   * request when nobody waits for it any more.
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
