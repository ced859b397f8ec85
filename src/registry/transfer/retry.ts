import { sleep } from '../../shared/abortable.ts';
import { backoffDelay, isTransientStatus } from '../../shared/backoff.ts';
import type { Logger } from '../../shared/logger.ts';
import { isTransient as isTransientNetworkError } from '../http/network-error.ts';
import { RegistryError } from '../model/errors.ts';

/** Milliseconds between tries, as far as the registry does not ask for more. */
const maxDelay = 10_000;

/** Milliseconds of the longest wait that a registry may ask for; more ends the transfer. */
const maxRetryAfter = 120_000;

/** Tells whether an error may pass by itself: a broken connection, or a server in trouble. */
export function isTransient(error: unknown): boolean {
  if (isTransientNetworkError(error)) return true;
  const status = error instanceof RegistryError ? error.facts['status'] : undefined;
  return typeof status === 'number' && isTransientStatus(status) && retryAfter(error) <= maxRetryAfter;
}

/** Milliseconds that a registry asked to wait. */
function retryAfter(error: unknown): number {
  const seconds = error instanceof RegistryError ? error.facts['retryAfterSeconds'] : undefined;
  return typeof seconds === 'number' ? seconds * 1000 : 0;
}

/** Hears why a transfer is tried again, and after how many milliseconds. */
export type RetryListener = (error: unknown, milliseconds: number) => void;

/** How long to wait before a new try: `delay` before the first, doubled by each further one. */
export interface BackOff {
  /** The first new try is 1. */
  readonly attempt: number;
  /** Milliseconds. */
  readonly delay: number;
  readonly signal: AbortSignal | undefined;
  /** Why a new try is needed: a registry may have asked for patience. */
  readonly error?: unknown;
  /** Told of the wait before it begins. */
  readonly onRetry: RetryListener;
}

/** Waits before a new try. Ends at once with the signal's reason. */
export async function backOff({ attempt, delay, signal, error, onRetry }: BackOff): Promise<void> {
  signal?.throwIfAborted();
  const wait = Math.max(backoffDelay(attempt, { first: delay, limit: maxDelay }), retryAfter(error));
  onRetry(error, wait);
  await sleep(wait, signal);
}

/** Logs that transfers are tried again: the first as a warning, so that nobody wonders about the wait. */
export function announceRetries(logger: Logger, repository: string): RetryListener {
  let warned = false;
  return (error, milliseconds) => {
    const level = warned ? 'debug' : 'warn';
    warned = true;
    const { status, reason } = error instanceof RegistryError ? error.facts : {};
    logger[level]('Trying a transfer again', { repository, reason: status ?? reason, milliseconds });
  };
}
