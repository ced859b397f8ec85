import type { TestContext } from 'vitest';

/** Notes how things are; returns the function that makes them so again, which may be called several times. */
export type Mark = () => Promise<() => Promise<void>>;

/** In the order of their registration: what comes later may use what came before. */
const marks = new Set<Mark>();
/** How to undo what the current test has done, in the same order. */
let undo: (() => Promise<void>)[] = [];

/**
 * Has what tests share, such as a server, made anew before a test is tried again, as it was before the first try. Returns the
 * function that ends this.
 */
export function undoBeforeSecondTry(mark: Mark): () => void {
  marks.add(mark);
  return () => marks.delete(mark);
}

/** What tests start: stopped in the end, or before the test that started it is tried again. */
export class Started implements AsyncDisposable {
  readonly #stops = new Set<() => Promise<void>>();
  readonly #forget = undoBeforeSecondTry(() => {
    const before = new Set(this.#stops);
    return Promise.resolve(() => this.#stopAllBut(before));
  });

  /** Adds what has been started. `stop` may be called several times. */
  add(stop: () => Promise<void>): void {
    this.#stops.add(stop);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#forget();
    await this.#stopAllBut(new Set());
  }

  async #stopAllBut(kept: ReadonlySet<() => Promise<void>>): Promise<void> {
    for (const stop of this.#stops) {
      if (kept.has(stop)) continue;
      await stop();
      this.#stops.delete(stop);
    }
  }
}

/** Puts things in order for a try of a test. Has no use of Vitest, so that benchmarks can start what tests start. */
export async function beginTry({ result, retry }: TestContext['task']): Promise<void> {
  if ((result?.retryCount ?? 0) > 0) {
    for (const one of undo.toReversed()) await one();
    return;
  }
  undo = [];
  // Where nothing is tried again, nothing has to be noted.
  if (retry === undefined || retry === 0) return;
  for (const mark of marks) undo.push(await mark());
}
