import type { Logger } from '../../shared/log.ts';
import { isPlainTextAnswer } from './network-error.ts';
import type { Transport } from './transport.ts';

/** The origin of a registry; for literal localhost its scheme may turn out to be http. */
export interface RegistryOrigin {
  url: URL;
}

const localHosts: ReadonlySet<string> = new Set(['localhost', '127.0.0.1', '[::1]']);

/** Speaks http with a registry on this very machine that does not speak TLS. Elsewhere that must be asked for. */
export function withPlainHttpFallback(inner: Transport, origin: RegistryOrigin, logger: Logger): Transport {
  if (!localHosts.has(origin.url.hostname) || origin.url.protocol === 'http:') return inner;
  const adjusted = (url: URL): URL => {
    const same = url.host === origin.url.host && url.protocol === 'https:' && origin.url.protocol === 'http:';
    return same ? withHttp(url) : url;
  };
  return async (request) => {
    const url = adjusted(request.url);
    try {
      return await inner({ ...request, url });
    } catch (error) {
      if (!isPlainTextAnswer(error) || url.host !== origin.url.host || url.protocol === 'http:') throw error;
      logger.debug('The local registry does not speak TLS, going on without', { registry: url.host });
      origin.url = withHttp(origin.url);
      return inner({ ...request, url: withHttp(url) });
    }
  };
}

function withHttp(url: URL): URL {
  const port = url.port === '' ? '443' : url.port;
  const plain = new URL(url);
  plain.protocol = 'http:';
  plain.port = port;
  return plain;
}
