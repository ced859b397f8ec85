import { setImmediate } from 'node:timers/promises';
import { RegistryError } from '../model/errors.ts';
import type { PathLimits } from './path-table.ts';

/** Steps between two turns of the event loop; a few milliseconds. */
const stepsInOneGo = 100_000;

/** Limits the number of steps, and counts those since the last turn of the event loop. */
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

  /** Yields to the event loop. @throws the signal's reason */
  async pause(): Promise<void> {
    this.#pauseAt = this.#taken + stepsInOneGo;
    await setImmediate();
    this.#signal?.throwIfAborted();
  }
}

/** Limits for all layers of an image together, so that a hostile one exhausts neither memory nor time. */
export interface OverlayLimits extends PathLimits {
  readonly maxEntries: number;
  /** Total characters of link targets. */
  readonly maxLinkCharacters: number;
  /** Name lookups: about one for each directory of each entry, plus those caused by symbolic links. */
  readonly maxSteps: number;
  /** Names of requested files, such as kernel modules. */
  readonly maxNames: number;
}

const mebi = 1024 ** 2;

export const defaultOverlayLimits: OverlayLimits = {
  maxEntries: mebi,
  maxPaths: 1.25 * mebi,
  maxNameCharacters: 32 * mebi,
  maxLinkCharacters: 16 * mebi,
  maxSteps: 64 * mebi,
  maxNames: 128 * 1024,
};
