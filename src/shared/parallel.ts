import pLimit from 'p-limit';

/** How tasks are run beside one another. */
export interface ParallelOptions {
  /** Tasks at one time. */
  readonly concurrency: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Runs tasks beside one another. The first that fails aborts the signal that the others were given, and no further one is
 * begun; nothing goes on behind the error. @throws what the first one threw; the reason of the signal
 */
export async function inParallel(
  tasks: readonly ((signal: AbortSignal) => Promise<void>)[],
  { concurrency, signal }: ParallelOptions,
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
