import { RegistryError } from '../../../registry/model/errors.ts';
import { Shares, type Share, type ShareLimits } from './shares.ts';

/** Runs a query when it is its turn. The signal is the caller's. */
export type Admit = <T>(query: (signal: AbortSignal) => Promise<T>) => Promise<T>;

/** Limits of concurrent lookups, and of the duration of each. */
export interface LookupLimits extends ShareLimits {
  /** Milliseconds for one lookup, and as many before it for waiting for its turn. */
  readonly deadline: number;
}

/** Limits of queries, which need time but few resources. */
export const queryLimits: LookupLimits = {
  total: 64,
  perRegistry: 8,
  perNamespace: 4,
  maxWaiting: 1000,
  deadline: 60_000,
};

/** Limits of reading images, which needs memory, and minutes for large layers. */
export const contentLimits: LookupLimits = {
  total: 6,
  perRegistry: 3,
  perNamespace: 2,
  maxWaiting: 1000,
  deadline: 600_000,
};

/** Lookups in registries, limited in their number and duration. */
export class Lookups {
  readonly #shares: Shares;
  readonly #deadline: number;

  constructor({ deadline, ...limits }: LookupLimits) {
    this.#shares = new Shares(limits);
    this.#deadline = deadline;
  }

  /** Returns a function that makes a query wait for its turn. It is cancelled if a signal is aborted. */
  admit(share: Share, signals: readonly AbortSignal[]): Admit {
    return async (query) => {
      const release = await this.within(share.registry, signals, (signal) =>
        this.#shares.take(share, signal),
      );
      try {
        return await query(AbortSignal.any([...signals]));
      } finally {
        release();
      }
    };
  }

  /** Runs work with a deadline. @throws RegistryError NETWORK if it is exceeded; and errors of the work */
  async within<T>(
    registry: string,
    signals: readonly AbortSignal[],
    work: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const timeout = new AbortController();
    const timer = setTimeout(() => timeout.abort(timedOut(registry, this.#deadline)), this.#deadline);
    try {
      return await work(AbortSignal.any([...signals, timeout.signal]));
    } catch (error) {
      // Whatever error the work throws when aborted: the deadline is the reason.
      if (timeout.signal.aborted && !signals.some(({ aborted }) => aborted)) throw timeout.signal.reason;
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }
}

function timedOut(registry: string, limit: number): RegistryError {
  return new RegistryError({
    code: 'NETWORK',
    message: `The registry ${registry} did not respond within ${Math.ceil(limit / 1000)} seconds`,
    hint: 'Check whether the registry is overloaded; the lookup is repeated later.',
    facts: { registry },
  });
}
