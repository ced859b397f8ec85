import type { Logger } from '../../shared/logger.ts';
import { excerpt } from '../../shared/printable.ts';
import { redactedUrl } from './address.ts';
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

/** The most distinct warnings shown per registry; more would be noise. */
const maxWarnings = 20;

/** Shows each `Warning: 299 - "…"` of a registry once (distribution-spec, "Warnings"). */
export function withWarnings(inner: Transport, logger: Logger): Transport {
  const seen = new Set<string>();
  return async (request) => {
    const response = await inner(request);
    for (const text of warningsOf(response.headers.warning ?? '')) {
      if (seen.has(text) || seen.size >= maxWarnings) continue;
      seen.add(text);
      logger.warn('The registry warns', { registry: response.url.host, warning: text });
    }
    return response;
  };
}

/** Returns the texts of the warnings with code 299. */
export function warningsOf(header: string): string[] {
  return [...header.matchAll(/299 +\S+ +"((?:[^"\\]|\\.)*)"/g)].map(([, text = '']) =>
    excerpt(text.replaceAll(/\\(.)/g, '$1')),
  );
}
