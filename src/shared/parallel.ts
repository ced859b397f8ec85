import pLimit from 'p-limit';

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
