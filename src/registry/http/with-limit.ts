import pLimit, { type LimitFunction } from 'p-limit';
import { abortable } from '../../shared/abortable.ts';
import { Recent } from '../../shared/recent.ts';
import type { Transport } from './transport.ts';

/** Hosts that are remembered: a registry may redirect to any number of them. */
const maxHosts = 1000;

/**
 * Limits the requests to one host that wait for their answer at the same time. Uploads that stream have a
 * limit of their own: their bodies may come out of a download that has to get its turn.
 */
export function withLimit(inner: Transport, concurrency: number): Transport {
  const limits = new Recent<LimitFunction>(maxHosts);
  return (request) => {
    const key = `${typeof request.body === 'function' ? 'upload' : 'request'} ${request.url.host}`;
    const limit = limits.get(key) ?? pLimit(concurrency);
    limits.set(key, limit);
    const response = limit(() => {
      request.signal?.throwIfAborted();
      return inner(request);
    });
    // Also while it waits for its turn.
    return abortable(response, request.signal);
  };
}
