import type { Logger } from '../../shared/log.ts';
import { redactedUrl } from './redacted-url.ts';
import type { Transport } from './transport.ts';

/** Logs each request and its status at debug level; no headers, no queries. */
export function withLog(inner: Transport, logger: Logger): Transport {
  return async (request) => {
    const line = { method: request.method, url: redactedUrl(request.url) };
    try {
      const response = await inner(request);
      logger.debug('HTTP', { ...line, status: response.status, bytes: response.headers['content-length'] });
      return response;
    } catch (error) {
      logger.debug('HTTP', { ...line, failed: error instanceof Error ? error.message : 'unknown' });
      throw error;
    }
  };
}
