import { sleep as sleepWithTimer } from '../../shared/abortable.ts';
import { backoffDelay, isTransientStatus, parseRetryAfter } from '../../shared/backoff.ts';
import type { Logger } from '../../shared/logger.ts';
import { LruMap } from '../../shared/lru.ts';
import { RegistryError } from '../model/errors.ts';
import { redactedUrl } from './address.ts';
import { isTransient } from './network-error.ts';
import { discardBody } from './response-body.ts';
import type { HttpRequest, HttpResponse, Transport } from './transport.ts';

/** The most hosts to remember: a registry may redirect to any number of them. */
const maxHosts = 1000;

export interface RetryOptions {
  /** Retries after the first attempt. */
  readonly retries: number;
  /** Milliseconds before the first retry. */
  readonly retryDelay: number;
  /** Milliseconds. */
  readonly maxRetryAfter: number;
  readonly logger: Logger;
  /** @default a timer */
  readonly sleep?: (milliseconds: number, signal: AbortSignal | undefined) => Promise<void>;
  /** @default Date.now */
  readonly now?: () => number;
}

/**
 * Retries transient failures. If a host requests a delay, all requests to it wait, not only the one that
 * failed. The last response is returned unchanged.
 */
export function withRetry(inner: Transport, options: RetryOptions): Transport {
  const { sleep = sleepWithTimer, now = Date.now, logger } = options;
  const notBefore = new LruMap<number>(maxHosts);
  const logRetry = retryLogger(logger);

  const waitForHost = async ({ url, signal }: HttpRequest): Promise<void> => {
    const wait = (notBefore.get(url.host) ?? 0) - now();
    if (wait > 0) await sleep(wait, signal);
  };

  const next = async (request: HttpRequest, attempt: number): Promise<HttpResponse> => {
    await waitForHost(request);
    request.signal?.throwIfAborted();
    const outcome = await attemptOnce(inner, request);
    const shouldRetry = attempt < options.retries && isRetriable(request) && isTransientOutcome(outcome);
    const delay = shouldRetry
      ? retryDelay({
          attempt: attempt + 1,
          base: options.retryDelay,
          retryAfter:
            'response' in outcome ? parseRetryAfter(outcome.response.headers['retry-after'], now()) : null,
          maxRetryAfter: options.maxRetryAfter,
          random: Math.random(),
        })
      : null;
    if (delay === null) return settle(outcome);
    notBefore.set(request.url.host, Math.max(notBefore.get(request.url.host) ?? 0, now() + delay));
    logRetry(request, outcome, delay);
    if ('response' in outcome) await discardBody(outcome.response);
    return next(request, attempt + 1);
  };

  return (request) => next(request, 0);
}

type Outcome = { readonly response: HttpResponse } | { readonly error: unknown };

/** Logs retries: the first one for each host as a warning, to explain the wait. */
function retryLogger(logger: Logger): (request: HttpRequest, outcome: Outcome, delay: number) => void {
  const warned = new LruMap<true>(maxHosts);
  return ({ method, url }, outcome, delay) => {
    const level = warned.get(url.host) === true ? 'debug' : 'warn';
    warned.set(url.host, true);
    const reason = reasonOf(outcome);
    logger[level]('Trying again', { method, url: redactedUrl(url), reason, milliseconds: delay });
  };
}

function reasonOf(outcome: Outcome): unknown {
  if ('response' in outcome) return outcome.response.status;
  return outcome.error instanceof RegistryError ? outcome.error.facts['reason'] : undefined;
}

async function attemptOnce(inner: Transport, request: HttpRequest): Promise<Outcome> {
  try {
    return { response: await inner(request) };
  } catch (error) {
    return { error };
  }
}

function settle(outcome: Outcome): HttpResponse {
  if ('error' in outcome) throw outcome.error;
  return outcome.response;
}

function isTransientOutcome(outcome: Outcome): boolean {
  return 'error' in outcome ? isTransient(outcome.error) : isTransientStatus(outcome.response.status);
}

function isRetriable({ method, body, retriable }: HttpRequest): boolean {
  if (retriable !== undefined) return retriable;
  if (method === 'PUT') return typeof body !== 'function';
  return method === 'GET' || method === 'HEAD' || method === 'DELETE';
}

/** The inputs of the wait before a retry. */
export interface RetryDelayInput {
  /** 1 for the first retry. */
  readonly attempt: number;
  /** Milliseconds before the first retry. */
  readonly base: number;
  /** The delay that the server requested, in milliseconds. */
  readonly retryAfter: number | null;
  /** The longest delay that a server may request, in milliseconds. */
  readonly maxRetryAfter: number;
  /** 0 ≤ random < 1: spreads clients that failed together. */
  readonly random: number;
}

/** The longest backoff of our own, in milliseconds. */
const maxDelay = 30_000;

/** Returns the milliseconds to wait, or null if the server requests too long a delay. */
export function retryDelay({
  attempt,
  base,
  retryAfter,
  maxRetryAfter,
  random,
}: RetryDelayInput): number | null {
  if (retryAfter !== null && retryAfter > maxRetryAfter) return null;
  const spread = backoffDelay(attempt, { first: base, limit: maxDelay }) * (0.75 + random / 2);
  return Math.round(Math.max(spread, retryAfter ?? 0));
}
