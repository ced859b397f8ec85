import { setTimeout as startTimer } from 'node:timers/promises';

/**
 * Waits for work that does not observe the signal, or that others wait for too. Rejects with the signal's
 * reason as soon as it is aborted; the work continues. If it fails after the last waiter has left, that is
 * not an unhandled rejection.
 */
export async function abortable<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  ignoreRejection(work);
  if (signal === undefined) return work;
  signal.throwIfAborted();
  const aborted = Promise.withResolvers<never>();
  const abort = (): void => aborted.reject(signal.reason);
  signal.addEventListener('abort', abort, { once: true });
  try {
    return await Promise.race([work, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

/**
 * Keeps a promise that is awaited later, or never, from counting as an unhandled rejection. Whoever awaits it
 * still sees its error.
 */
export function ignoreRejection(promise: Promise<unknown>): void {
  promise.catch(() => {});
}

/** Waits until a signal is aborted. Never rejects. */
export async function whenAborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => {
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

/** Waits the given number of milliseconds. @throws the signal's reason if it is aborted first */
export async function sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
  try {
    await startTimer(milliseconds, undefined, signal === undefined ? {} : { signal });
  } catch (error) {
    // Throw the caller's own reason, which the timer's error would hide.
    signal?.throwIfAborted();
    throw error;
  }
}
