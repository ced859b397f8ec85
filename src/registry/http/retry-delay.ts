/** What the time to wait depends on. */
export interface RetryDelayInput {
  /** 1 for the first retry. */
  readonly attempt: number;
  /** Milliseconds before the first retry. */
  readonly base: number;
  /** Milliseconds that the server asked for. */
  readonly retryAfter: number | null;
  /** The longest that a server may ask for, in milliseconds. */
  readonly maxRetryAfter: number;
  /** 0 ≤ random < 1: spreads clients that failed together. */
  readonly random: number;
}

/** No back-off of our own is longer than this, in milliseconds. */
const maxDelay = 30_000;

/** Milliseconds to wait, or null when the server asks for more patience than we have. */
export function retryDelay({
  attempt,
  base,
  retryAfter,
  maxRetryAfter,
  random,
}: RetryDelayInput): number | null {
  if (retryAfter !== null && retryAfter > maxRetryAfter) return null;
  const backOff = Math.min(base * 2 ** (attempt - 1), maxDelay) * (0.75 + random / 2);
  return Math.round(Math.max(backOff, retryAfter ?? 0));
}
