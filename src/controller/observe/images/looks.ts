import { RegistryError } from '../../../registry/model/errors.ts';
import { Shares, type Share, type ShareLimits } from './shares.ts';

/** Runs a query when it is its turn. The signal is the caller's. */
export type Admit = <T>(ask: (signal: AbortSignal) => Promise<T>) => Promise<T>;

/** Limits of concurrent lookups, and of the duration of each. */
export interface LookLimits extends ShareLimits {
  /** Milliseconds for one lookup, and as many before it for waiting for its turn. */
  readonly deadline: number;
}

/** Limits of queries, which need time but few resources. */
export const questionLimits: LookLimits = {
  total: 64,
  perRegistry: 8,
  perNamespace: 4,
  maxWaiting: 1000,
  deadline: 60_000,
};

/** Limits of reading images, which needs memory, and minutes for large layers. */
export const contentLimits: LookLimits = {
  total: 6,
  perRegistry: 3,
  perNamespace: 2,
  maxWaiting: 1000,
  deadline: 600_000,
};

/** Lookups in registries, limited in their number and duration. */
export class Looks {
  readonly #shares: Shares;
  readonly #deadline: number;

  constructor({ deadline, ...limits }: LookLimits) {
    this.#shares = new Shares(limits);
    this.#deadline = deadline;
  }

  /** Returns a function that makes a query wait for its turn. It is cancelled if a signal is aborted. */
  admit(share: Share, signals: readonly AbortSignal[]): Admit {
    return async (ask) => {
      const giveBack = await this.within(share.registry, signals, (signal) =>
        this.#shares.take(share, signal),
      );
      try {
        return await ask(AbortSignal.any([...signals]));
      } finally {
        giveBack();
      }
    };
  }

  /** Runs work with a deadline. @throws RegistryError NETWORK if it is exceeded; and errors of the work */
  async within<T>(
    registry: string,
    signals: readonly AbortSignal[],
    work: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(tooLate(registry, this.#deadline)), this.#deadline);
    try {
      return await work(AbortSignal.any([...signals, late.signal]));
    } catch (error) {
      // Whatever error the work throws when aborted: the deadline is the reason.
      if (late.signal.aborted && !signals.some(({ aborted }) => aborted)) throw late.signal.reason;
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }
}

function tooLate(registry: string, limit: number): RegistryError {
  return new RegistryError({
    code: 'NETWORK',
    message: `The registry ${registry} did not respond within ${Math.ceil(limit / 1000)} seconds`,
    hint: 'See whether the registry is overloaded; the lookup is repeated later.',
    facts: { registry },
  });
}
