import { ignoreRejection } from '../../../shared/abortable.ts';

/** Things that are read at one time: one is inflated in its thread while another is downloaded and walked through. */
const concurrency = 2;

/** How a list is read. */
export interface ReadAheadOptions<Item, Result> {
  /** Reads one. `onHalfway` is called when half of it has been read. */
  readonly read: (item: Item, context: { signal: AbortSignal; onHalfway: () => void }) => Promise<Result>;
  /** Whether all are needed, whatever they hold. */
  readonly needsAll: boolean;
  /** Whether a further one is probably needed, as far as what was read until now tells. */
  readonly seemsToNeedMore: () => boolean;
  /** Whether one that is just being begun may be taken for one that does not end the search. Never asked of the first. */
  readonly isUnpromising: (item: Item) => boolean;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Reads a list in order, and items beside the one before them where they will probably be needed. Gives the
 * results in order. When the consumer stops or a reading fails, readings that are under way are aborted.
 */
export async function* readAhead<Item, Result>(
  items: readonly Item[],
  options: ReadAheadOptions<Item, Result>,
): AsyncGenerator<{ readonly item: Item; readonly result: Result }> {
  const { signal } = options;
  const stop = new AbortController();
  const either = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]);
  const readings = new Readings(items, options, either);
  try {
    for (const [position, item] of items.entries()) yield { item, result: await readings.result(position) };
  } finally {
    stop.abort();
    await readings.settled();
  }
}

/** The readings that were begun, always of the first items of the list. */
class Readings<Item, Result> {
  readonly #items: readonly Item[];
  readonly #options: ReadAheadOptions<Item, Result>;
  readonly #signal: AbortSignal;
  readonly #begun: Promise<Result>[] = [];
  #running = 0;
  /** Whether what was begun last has been read so far that it would have shown what is looked for. */
  #lastIsKnown = false;

  constructor(items: readonly Item[], options: ReadAheadOptions<Item, Result>, signal: AbortSignal) {
    this.#items = items;
    this.#options = options;
    this.#signal = signal;
  }

  /** Reads up to a position if that was not begun yet. */
  async result(position: number): Promise<Result> {
    for (const item of this.#items.slice(this.#begun.length, position + 1)) this.#begin(item);
    this.#beginMore();
    const reading = this.#begun[position];
    if (reading === undefined) throw new RangeError(`no item ${position}`);
    return await reading;
  }

  async settled(): Promise<void> {
    await Promise.allSettled(this.#begun);
  }

  #beginMore(): void {
    for (const item of this.#items.slice(this.#begun.length)) {
      if (this.#signal.aborted || this.#running >= concurrency || !this.#mayGoOn()) return;
      this.#begin(item);
    }
  }

  #mayGoOn(): boolean {
    return this.#options.needsAll || (this.#lastIsKnown && this.#options.seemsToNeedMore());
  }

  #begin(item: Item): void {
    const position = this.#begun.length;
    this.#lastIsKnown = position > 0 && this.#options.isUnpromising(item);
    const reading = this.#read(item, position);
    // It is awaited in its turn; until then a failure must not count as unhandled.
    ignoreRejection(reading);
    this.#begun.push(reading);
  }

  async #read(item: Item, position: number): Promise<Result> {
    this.#running += 1;
    let result: Result;
    try {
      result = await this.#options.read(item, {
        signal: this.#signal,
        onHalfway: () => this.#passed(position),
      });
    } finally {
      this.#running -= 1;
    }
    this.#passed(position);
    return result;
  }

  #passed(position: number): void {
    if (position === this.#begun.length - 1) this.#lastIsKnown = true;
    this.#beginMore();
  }
}
