import { sleep } from '../../shared/abortable.ts';
import { backoffDelay, isTransientStatus } from '../../shared/backoff.ts';
import type { Logger } from '../../shared/logger.ts';
import { isTransient as isTransientNetworkError } from '../http/network-error.ts';
import { RegistryError } from '../model/errors.ts';

/** The longest backoff in milliseconds, unless the registry requests more. */
const maxDelay = 10_000;

/** The longest delay that a registry may request, in milliseconds; a longer one fails the transfer. */
const maxRetryAfter = 120_000;

/** Tells whether an error is transient: a broken connection, or a server in trouble. */
export function isTransient(error: unknown): boolean {
  if (isTransientNetworkError(error)) return true;
  const status = error instanceof RegistryError ? error.facts['status'] : undefined;
  return typeof status === 'number' && isTransientStatus(status) && retryAfter(error) <= maxRetryAfter;
}

/** Returns the delay that a registry requested, in milliseconds. */
function retryAfter(error: unknown): number {
  const seconds = error instanceof RegistryError ? error.facts['retryAfterSeconds'] : undefined;
  return typeof seconds === 'number' ? seconds * 1000 : 0;
}

/** Called with the reason for a retry of a transfer, and the wait before it in milliseconds. */
export type RetryListener = (error: unknown, milliseconds: number) => void;

/** How long to wait before a retry: `delay` before the first, doubled with each further one. */
export interface BackOff {
  /** 1 for the first retry. */
  readonly attempt: number;
  /** Milliseconds. */
  readonly delay: number;
  readonly signal: AbortSignal | undefined;
  /** Why a retry is needed; may contain the delay that a registry requested. */
  readonly error?: unknown;
  /** Called before the wait. */
  readonly onRetry: RetryListener;
}

/** Waits before a retry. Rejects with the signal's reason as soon as it is aborted. */
export async function backOff({ attempt, delay, signal, error, onRetry }: BackOff): Promise<void> {
  signal?.throwIfAborted();
  const wait = Math.max(backoffDelay(attempt, { first: delay, limit: maxDelay }), retryAfter(error));
  onRetry(error, wait);
  await sleep(wait, signal);
}

/** What is tried again, how often and after which waits. */
export interface Attempts {
  /** Those of the whole, at least 1. */
  readonly most: number;
  /** Milliseconds before the second attempt; doubled with each further one. */
  readonly delay: number;
  readonly signal: AbortSignal | undefined;
  readonly onRetry: RetryListener;
  /** Tells whether another attempt may succeed where one failed. Called once for each that is not the last. */
  readonly shouldRetry: (error: unknown) => boolean;
}

/** Runs a task until it succeeds. @throws what its last attempt threw; the signal's reason */
export async function withAttempts<Result>(
  run: () => Promise<Result>,
  { most, delay, signal, onRetry, shouldRetry }: Attempts,
): Promise<Result> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await run();
    } catch (error) {
      signal?.throwIfAborted();
      if (attempt === most || !shouldRetry(error)) throw error;
      await backOff({ attempt, delay, signal, error, onRetry });
    }
  }
}

/** Logs retries of transfers: the first one as a warning, to explain the wait. */
export function logRetries(logger: Logger, repository: string): RetryListener {
  let warned = false;
  return (error, milliseconds) => {
    const level = warned ? 'debug' : 'warn';
    warned = true;
    const { status, reason } = error instanceof RegistryError ? error.facts : {};
    logger[level]('Trying a transfer again', { repository, reason: status ?? reason, milliseconds });
  };
}
