import { setTimeout as sleep } from 'node:timers/promises';

/** The timeout and the interval between two attempts, in milliseconds. */
export interface Patience {
  readonly timeout: number;
  readonly interval: number;
}

/**
 * Calls a function until it does not throw, and returns its result. Needs no test runner.
 * @throws what the last attempt threw, on timeout
 */
export async function waitFor<T>(look: () => T | Promise<T>, { timeout, interval }: Patience): Promise<T> {
  const deadline = performance.now() + timeout;
  for (;;) {
    try {
      return await look();
    } catch (error) {
      if (performance.now() > deadline) throw error;
    }
    await sleep(interval);
  }
}
