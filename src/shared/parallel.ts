import pLimit from 'p-limit';
import { ignoreRejection } from './abortable.ts';

/**
 * Runs tasks in parallel. The first failure aborts the signal that the other tasks were given, and no further
 * task is started; nothing is still running when the error is thrown.
 * @param concurrency the number of tasks that run at a time
 * @throws what the first failed task threw; the signal's reason
 */
export async function inParallel(
  tasks: readonly ((signal: AbortSignal) => Promise<void>)[],
  concurrency: number,
  signal?: AbortSignal,
): Promise<void> {
  const failed = new AbortController();
  const either = signal === undefined ? failed.signal : AbortSignal.any([signal, failed.signal]);
  let first: { readonly error: unknown } | undefined;
  await pLimit(concurrency).map(tasks, async (task) => {
    if (either.aborted) return;
    try {
      await task(either);
    } catch (error) {
      first ??= { error };
      failed.abort(error);
    }
  });
  if (first !== undefined) throw first.error;
  signal?.throwIfAborted();
}

/**
 * Works on items, and yields each with its result in their order. While one is awaited or used, those that follow it are
 * worked on. If the consumer stops or a task fails, the signal that the tasks were given is aborted, and what has been
 * begun is awaited.
 * @param ahead the number of items that are begun and not yet used at a time, at least 1
 * @throws what a task throws, in its turn
 */
export async function* mapAhead<Item, Result>(
  items: readonly Item[],
  ahead: number,
  work: (item: Item, signal: AbortSignal) => Promise<Result>,
  signal?: AbortSignal,
): AsyncGenerator<{ readonly item: Item; readonly result: Result }> {
  const stop = new AbortController();
  const either = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]);
  const begun: Promise<Result>[] = [];
  const begin = (item: Item): void => {
    const result = work(item, either);
    // Awaited in its turn; until then, a rejection must not be reported as unhandled.
    ignoreRejection(result);
    begun.push(result);
  };
  try {
    for (const [position, item] of items.entries()) {
      for (const next of items.slice(position + begun.length, position + ahead)) begin(next);
      const [result] = begun.splice(0, 1);
      if (result === undefined) throw new RangeError('at least one item has to be begun');
      yield { item, result: await result };
    }
  } finally {
    stop.abort();
    await Promise.allSettled(begun);
  }
}
