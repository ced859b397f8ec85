import type { Transport } from './transport.ts';

/** Sends `User-Agent` with every request. */
export function withUserAgent(inner: Transport, userAgent: string): Transport {
  return (request) => inner({ ...request, headers: { 'user-agent': userAgent, ...request.headers } });
}
