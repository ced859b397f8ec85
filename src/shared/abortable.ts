import { setTimeout as startTimer } from 'node:timers/promises';

/**
 * Waits for work that the signal does not reach, or that others wait for too: the promise rejects with the
 * signal's reason as soon as it is aborted, and the work goes on. A failure of work that nobody waits for any
 * more is not an unhandled rejection.
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

/** Keeps a promise that is awaited later, or never, from counting as an unhandled rejection. Those who await it see its error. */
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

/** Waits some milliseconds. @throws the reason of the signal when it is aborted before */
export async function sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
  try {
    await startTimer(milliseconds, undefined, signal === undefined ? {} : { signal });
  } catch (error) {
    // The caller's own reason; the timer's error would hide it.
    signal?.throwIfAborted();
    throw error;
  }
}
