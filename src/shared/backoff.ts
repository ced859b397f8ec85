import { sleep } from './abortable.ts';

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

/** Waits, but not beyond the signal's abortion, which is not an error. */
export async function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  await sleep(milliseconds, signal).catch(() => {});
}

/**
 * Statuses of a server or proxy in trouble, which another try may get over: a time-out (408, 504), too many requests
 * (429), a request that a proxy gave up (499 of nginx), errors of the server (500, 502, 503), and an origin that a
 * proxy cannot reach (522 of Cloudflare).
 */
const transientStatuses: ReadonlySet<number> = new Set([408, 429, 499, 500, 502, 503, 504, 522]);

/** Tells whether a response's status may be another at the next try. */
export function isTransientStatus(status: number): boolean {
  return transientStatuses.has(status);
}

/**
 * Reads a Retry-After header in either form (RFC 9110, section 10.2.3).
 * @returns milliseconds from `now`, or null when there is none that makes sense
 */
export function parseRetryAfter(header: string | undefined, now: number): number | null {
  const text = header?.trim() ?? '';
  if (/^[0-9]{1,10}$/.test(text)) return Number(text) * 1000;
  const date = /^[A-Za-z]{3}/.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(date) ? null : Math.max(0, date - now);
}
