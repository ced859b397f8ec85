import { setImmediate } from 'node:timers/promises';
import { RegistryError } from '../model/errors.ts';
import type { PathLimits } from './path-table.ts';

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

/** Limits of all layers of an image together, so that a hostile one takes neither the memory nor the time. */
export interface OverlayLimits extends PathLimits {
  readonly maxEntries: number;
  /** Characters of the targets of links. */
  readonly maxLinkCharacters: number;
  /** Names to look up: about one for each directory of each entry, and what symbolic links add to that. */
  readonly maxSteps: number;
  /** Names of files that are looked for, such as those of kernel modules. */
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
