import pLimit, { type LimitFunction } from 'p-limit';
import type { Transport } from './transport.ts';

/**
 * Limits the requests to one host that wait for their answer at the same time. Uploads that stream have a
 * limit of their own: their bodies may come out of a download that has to get its turn.
 */
export function withLimit(inner: Transport, concurrency: number): Transport {
  const limits = new Map<string, LimitFunction>();
  return (request) => {
    const key = `${typeof request.body === 'function' ? 'upload' : 'request'} ${request.url.host}`;
    const limit = limits.get(key) ?? pLimit(concurrency);
    limits.set(key, limit);
    return limit(() => {
      request.signal?.throwIfAborted();
      return inner(request);
    });
  };
}
