import { setTimeout as sleep } from 'node:timers/promises';

/** How long to wait, and how long between two looks. Milliseconds. */
export interface Patience {
  readonly timeout: number;
  readonly interval: number;
}

/**
 * Looks until nothing is thrown, and gives what was seen. It needs no test runner.
 * @throws what the last look threw, when the time is over
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
