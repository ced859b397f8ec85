import { setImmediate } from 'node:timers/promises';
import { RegistryError } from '../model/errors.ts';

/** Steps after which others get their turn: some milliseconds. */
const stepsInOneGo = 100_000;

/** How many steps may be taken, and how many were taken since others last had their turn. */
export class StepBudget {
  readonly #maxSteps: number;
  readonly #signal: AbortSignal | undefined;
  #taken = 0;
  #pauseAt = stepsInOneGo;

  constructor(maxSteps: number, signal?: AbortSignal) {
    this.#maxSteps = maxSteps;
    this.#signal = signal;
  }

  /** Whether it is time for `pause`. */
  get isPauseDue(): boolean {
    return this.#taken >= this.#pauseAt;
  }

  /** Takes steps. @throws RegistryError LIMIT_EXCEEDED */
  take(count = 1): void {
    this.#taken += count;
    if (this.#taken <= this.#maxSteps) return;
    throw new RegistryError({
      code: 'LIMIT_EXCEEDED',
      message: `The symbolic links of the image's layers would take more than ${this.#maxSteps} steps to follow`,
      facts: { maxSteps: this.#maxSteps },
    });
  }

  /** Lets the event loop go on. @throws the signal's reason */
  async pause(): Promise<void> {
    this.#pauseAt = this.#taken + stepsInOneGo;
    await setImmediate();
    this.#signal?.throwIfAborted();
  }
}
