import { setTimeout as sleep } from 'node:timers/promises';
import { RegistryError } from '../errors.ts';
import { isTransient as isTransientNetworkError } from '../http/network-error.ts';

const transientStatuses: ReadonlySet<unknown> = new Set([408, 429, 500, 502, 503, 504]);

/** Milliseconds between tries at the most. */
const maxDelay = 10_000;

/** Tells whether an error may pass by itself: a broken connection, or a server in trouble. */
export function isTransient(error: unknown): boolean {
  return (
    isTransientNetworkError(error) ||
    (error instanceof RegistryError && transientStatuses.has(error.facts['status']))
  );
}

/** How long to wait before a new try: `delay` before the first, doubled by each further one. */
export interface BackOff {
  /** The first new try is 1. */
  readonly attempt: number;
  /** Milliseconds. */
  readonly delay: number;
  readonly signal: AbortSignal | undefined;
}

/** Waits before a new try. Ends at once with the signal's reason. */
export async function backOff({ attempt, delay, signal }: BackOff): Promise<void> {
  signal?.throwIfAborted();
  try {
    await sleep(
      Math.min(delay * 2 ** (attempt - 1), maxDelay),
      undefined,
      signal === undefined ? {} : { signal },
    );
  } catch {
    signal?.throwIfAborted();
  }
}
