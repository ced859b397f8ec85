import type { Token } from './token.ts';

/** Tokens in use, and those on their way: whoever needs the same one waits for the same request. */
export class TokenCache {
  readonly #tokens = new Map<string, Token>();
  readonly #pending = new Map<string, Promise<Token | null>>();
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
   * Gives the token in use, or that of the request on its way, or sends one. The request is everybody's:
   * a signal ends the waiting, not the request.
   */
  async obtain(key: string, fetch: () => Promise<Token | null>, signal?: AbortSignal): Promise<Token | null> {
    const known = this.get(key);
    if (known !== null) return known;
    return abortable(this.#pending.get(key) ?? this.#fetch(key, fetch), signal);
  }

  #fetch(key: string, fetch: () => Promise<Token | null>): Promise<Token | null> {
    const pending = fetch()
      .then((token) => {
        if (token !== null) this.#tokens.set(key, token);
        return token;
      })
      .finally(() => this.#pending.delete(key));
    this.#pending.set(key, pending);
    return pending;
  }
}

async function abortable<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  signal.throwIfAborted();
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const stop = (): void => reject(signal.reason);
  signal.addEventListener('abort', stop, { once: true });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}
