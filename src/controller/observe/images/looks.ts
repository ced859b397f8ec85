import { RegistryError } from '../../../registry/model/errors.ts';
import { Shares, type Share, type ShareLimits } from './shares.ts';

/** Lets a question be asked when it is its turn. The signal is that of whoever asks. */
export type Admit = <T>(ask: (signal: AbortSignal) => Promise<T>) => Promise<T>;

/** How many looks there may be at a time, and how long each may take. */
export interface LookLimits extends ShareLimits {
  /** Milliseconds for one look, and the same before for waiting for one's turn. */
  readonly deadline: number;
}

/** Questions take little but time. */
export const questionLimits: LookLimits = {
  total: 64,
  perRegistry: 8,
  perNamespace: 4,
  maxWaiting: 1000,
  deadline: 60_000,
};

/** Reading images takes memory, and minutes where layers are large. */
export const contentLimits: LookLimits = {
  total: 6,
  perRegistry: 3,
  perNamespace: 2,
  maxWaiting: 1000,
  deadline: 600_000,
};

/** Looks at registries that share a number of them. None takes longer than it may. */
export class Looks {
  readonly #shares: Shares;
  readonly #deadline: number;

  constructor({ deadline, ...limits }: LookLimits) {
    this.#shares = new Shares(limits);
    this.#deadline = deadline;
  }

  /** Makes a question wait for its turn. Whoever asks gives up when one of the signals is aborted. */
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

  /** Does work that has to end in time. @throws RegistryError NETWORK when it does not; and what the work throws */
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
      // However the work calls its abortion: this is why.
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
