import { ignoreRejection } from '../../../shared/abortable.ts';

/**
 * Items read concurrently: one is inflated in its own thread while another is downloaded and walked through.
 */
const concurrency = 2;

/** How far a list has to be read. */
export type Extent<Item> =
  | { readonly kind: 'all' }
  | {
      readonly kind: 'until-decided';
      /** Returns whether another item is probably needed, judging by what has been read so far. */
      mayNeedMore(): boolean;
      /**
       * Returns whether an item that is about to be started probably does not end the search. Never called
       * for the first.
       */
      isLikelyIrrelevant(item: Item): boolean;
    };

/** How a list is read. */
export interface ListReader<Item, Result> {
  readonly extent: Extent<Item>;
  readonly signal?: AbortSignal | undefined;
  /** Reads one item, and calls `onHalfway` when half of it has been read. */
  read(item: Item, context: { signal: AbortSignal; onHalfway: () => void }): Promise<Result>;
}

/**
 * Reads a list in order, starting items early where they will probably be needed. Yields the results in
 * order. If the consumer stops or a read fails, reads in progress are aborted.
 */
export async function* readAhead<Item, Result>(
  items: readonly Item[],
  reader: ListReader<Item, Result>,
): AsyncGenerator<{ readonly item: Item; readonly result: Result }> {
  const { signal } = reader;
  const stop = new AbortController();
  const either = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]);
  const readings = new Readings(items, reader, either);
  try {
    for (const [position, item] of items.entries()) yield { item, result: await readings.result(position) };
  } finally {
    stop.abort();
    await readings.settled();
  }
}

/** The reads started so far, which are always those of the first items of the list. */
class Readings<Item, Result> {
  readonly #items: readonly Item[];
  readonly #reader: ListReader<Item, Result>;
  readonly #signal: AbortSignal;
  readonly #started: Promise<Result>[] = [];
  #running = 0;
  /** Whether enough of the most recently started item has been read to have shown whether more is needed. */
  #lastReadEnough = false;

  constructor(items: readonly Item[], reader: ListReader<Item, Result>, signal: AbortSignal) {
    this.#items = items;
    this.#reader = reader;
    this.#signal = signal;
  }

  /** Returns the result at a position, after starting all reads up to it that have not been started yet. */
  async result(position: number): Promise<Result> {
    for (const item of this.#items.slice(this.#started.length, position + 1)) this.#start(item);
    this.#startMore();
    const reading = this.#started[position];
    if (reading === undefined) throw new RangeError(`no item ${position}`);
    return await reading;
  }

  async settled(): Promise<void> {
    await Promise.allSettled(this.#started);
  }

  #startMore(): void {
    for (const item of this.#items.slice(this.#started.length)) {
      if (this.#signal.aborted || this.#running >= concurrency || !this.#mayContinue()) return;
      this.#start(item);
    }
  }

  #mayContinue(): boolean {
    const { extent } = this.#reader;
    return extent.kind === 'all' || (this.#lastReadEnough && extent.mayNeedMore());
  }

  #start(item: Item): void {
    const position = this.#started.length;
    const { extent } = this.#reader;
    this.#lastReadEnough = position > 0 && extent.kind !== 'all' && extent.isLikelyIrrelevant(item);
    const reading = this.#read(item, position);
    // Awaited in its turn; until then, a rejection must not be reported as unhandled.
    ignoreRejection(reading);
    this.#started.push(reading);
  }

  async #read(item: Item, position: number): Promise<Result> {
    this.#running += 1;
    let result: Result;
    try {
      result = await this.#reader.read(item, {
        signal: this.#signal,
        onHalfway: () => this.#reachedHalf(position),
      });
    } finally {
      this.#running -= 1;
    }
    this.#reachedHalf(position);
    return result;
  }

  #reachedHalf(position: number): void {
    if (position === this.#started.length - 1) this.#lastReadEnough = true;
    this.#startMore();
  }
}
