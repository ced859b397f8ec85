import { setTimeout as sleep } from 'node:timers/promises';
import { RegistryError } from '../errors.ts';
import { isTransient as isTransientNetworkError } from '../http/network-error.ts';

const transientStatuses: ReadonlySet<unknown> = new Set([408, 429, 500, 502, 503, 504]);

/** Milliseconds before the first new try; each further one doubles it. */
const firstDelay = 250;
const maxDelay = 10_000;

/** Tells whether an error may pass by itself: a broken connection, or a server in trouble. */
export function isTransient(error: unknown): boolean {
  return (
    isTransientNetworkError(error) ||
    (error instanceof RegistryError && transientStatuses.has(error.facts['status']))
  );
}

/** Waits before try number `attempt` (the first new one is 1). Ends at once with the signal's reason. */
export async function backOff(attempt: number, signal: AbortSignal | undefined): Promise<void> {
  signal?.throwIfAborted();
  const delay = Math.min(firstDelay * 2 ** (attempt - 1), maxDelay);
  try {
    await sleep(delay, undefined, signal === undefined ? {} : { signal });
  } catch {
    signal?.throwIfAborted();
  }
}
