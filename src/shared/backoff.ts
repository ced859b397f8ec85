import { sleep } from './abortable.ts';

/** The bounds of a backoff, in milliseconds. */
export interface BackoffLimits {
  readonly first: number;
  readonly limit: number;
}

/** Returns the wait after `failures` failures in a row: doubled with each one, up to the limit. */
export function backoffDelay(failures: number, { first, limit }: BackoffLimits): number {
  // By 2^30 the limit has long been reached; the cap keeps the number finite.
  return failures <= 0 ? 0 : Math.min(limit, first * 2 ** Math.min(failures - 1, 30));
}

/** Spreads a wait over its upper half, so that clients that failed together do not all retry together. */
export function withJitter(delay: number): number {
  return delay / 2 + Math.random() * (delay / 2);
}

/** Waits until the time is up or the signal is aborted, which is not an error. */
export async function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  await sleep(milliseconds, signal).catch(() => {});
}

/**
 * Transient statuses, worth a retry: a timeout (408, 504), too many requests (429), a request that a proxy
 * abandoned (nginx's 499), server errors (500, 502, 503), and an origin that a proxy cannot reach
 * (Cloudflare's 522).
 */
const transientStatuses: ReadonlySet<number> = new Set([408, 429, 499, 500, 502, 503, 504, 522]);

/** Tells whether a retry may get a different status. */
export function isTransientStatus(status: number): boolean {
  return transientStatuses.has(status);
}

/**
 * Reads a Retry-After header in either form (RFC 9110, section 10.2.3).
 * @returns milliseconds from `now`, or null if it is missing or malformed
 */
export function parseRetryAfter(header: string | undefined, now: number): number | null {
  const text = header?.trim() ?? '';
  if (/^[0-9]{1,10}$/.test(text)) return Number(text) * 1000;
  const date = /^[A-Za-z]{3}/.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(date) ? null : Math.max(0, date - now);
}
