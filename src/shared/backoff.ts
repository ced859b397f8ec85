import { setTimeout as sleep } from 'node:timers/promises';

/** How waits grow, in milliseconds. */
export interface BackoffLimits {
  readonly first: number;
  readonly limit: number;
}

/** The wait after so many failures in a row: doubled with each, up to the limit. */
export function backoffDelay(failures: number, { first, limit }: BackoffLimits): number {
  // Above 2^30 the limit has long been reached; this keeps the number finite.
  return failures <= 0 ? 0 : Math.min(limit, first * 2 ** Math.min(failures - 1, 30));
}

/** Spreads a wait over its upper half, so that many who failed at once do not come back at once. */
export function withJitter(delay: number): number {
  return delay / 2 + Math.random() * (delay / 2);
}

/** Waits, but not beyond the signal's abortion, which is no error. */
export async function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  await sleep(milliseconds, undefined, { signal }).catch(() => {});
}
