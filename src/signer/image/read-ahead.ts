/** Things that are read at one time: one is inflated in its thread while another is downloaded and walked through. */
const concurrency = 2;

/** How a list is read. */
export interface ReadAheadOptions<Item, Result> {
  /** Reads one. `onHalfway` is called when half of it has been read. */
  readonly read: (item: Item, context: { signal: AbortSignal; onHalfway: () => void }) => Promise<Result>;
  /** Whether the next one is needed whatever this one holds. */
  readonly needsAll: boolean;
  /** Whether the next one is probably needed, as far as what was read until now tells. */
  readonly seemsToNeedMore: () => boolean;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Reads a list in order, and an item beside the one before it where it will probably be needed. Gives the
 * results in order. When the consumer stops or a reading fails, readings that are under way are aborted.
 */
export async function* readAhead<Item, Result>(
  items: readonly Item[],
  { read, needsAll, seemsToNeedMore, signal }: ReadAheadOptions<Item, Result>,
): AsyncGenerator<{ readonly item: Item; readonly result: Result }> {
  const stop = new AbortController();
  const either = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]);
  const readings = new Map<number, Promise<Result>>();
  let running = 0;
  const start = async (item: Item, position: number): Promise<Result> => {
    running += 1;
    try {
      return await read(item, {
        signal: either,
        onHalfway: () => {
          if (seemsToNeedMore()) startBeside(position + 1);
        },
      });
    } finally {
      running -= 1;
    }
  };
  const ensureStarted = (position: number): Promise<Result> | undefined => {
    const item = items[position];
    if (item === undefined || readings.has(position)) return readings.get(position);
    const reading = start(item, position);
    // It is awaited in its turn; until then a failure must not count as unhandled.
    reading.catch(() => {});
    readings.set(position, reading);
    return reading;
  };
  const startBeside = (position: number): void => {
    if (running < concurrency) void ensureStarted(position);
  };
  try {
    for (const [position, item] of items.entries()) {
      const reading = ensureStarted(position);
      if (needsAll) startBeside(position + 1);
      if (reading !== undefined) yield { item, result: await reading };
    }
  } finally {
    stop.abort();
    await Promise.allSettled(readings.values());
  }
}
