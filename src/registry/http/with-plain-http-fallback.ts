import { connect, createSecureContext } from 'node:tls';
import type { Logger } from '../../shared/log.ts';
import { bareHost } from './address.ts';
import { isPlainTextAnswer } from './network-error.ts';
import type { Transport } from './transport.ts';

/** The origin of a registry; for literal localhost its scheme may turn out to be http. */
export interface RegistryOrigin {
  url: URL;
}

const localHosts: ReadonlySet<string> = new Set(['localhost', '127.0.0.1', '[::1]']);

/** Milliseconds in which a server on this machine answers a TLS handshake. */
const probeTimeout = 5000;

/**
 * Speaks http with a registry on this very machine that does not speak TLS. Elsewhere that must be asked for.
 * The server is asked before the first request, so that no certificate has to be read for nothing.
 */
export function withPlainHttpFallback(inner: Transport, origin: RegistryOrigin, logger: Logger): Transport {
  if (!localHosts.has(origin.url.hostname) || origin.url.protocol === 'http:') return inner;
  let probed: Promise<void> | undefined;
  const probe = async (): Promise<void> => {
    if (await speaksTls(origin.url)) return;
    logger.debug('The local registry does not speak TLS, going on without', { registry: origin.url.host });
    origin.url = withHttp(origin.url);
  };
  return async (request) => {
    probed ??= probe();
    await probed;
    const { url } = request;
    const isRegistry = url.protocol === 'https:' && url.host === origin.url.host;
    return inner(
      isRegistry && origin.url.protocol === 'http:' ? { ...request, url: withHttp(url) } : request,
    );
  };
}

/** Only an answer that is certainly not TLS counts as none; nothing is sent but the start of a handshake. */
function speaksTls(url: URL): Promise<boolean> {
  const socket = connect({
    host: bareHost(url),
    port: url.port === '' ? 443 : Number(url.port),
    // The handshake is not continued, so there is nothing to verify.
    rejectUnauthorized: false,
    secureContext: createSecureContext({ ca: [] }),
  });
  return new Promise<boolean>((resolve) => {
    socket.setTimeout(probeTimeout, () => resolve(true));
    socket.once('secureConnect', () => resolve(true));
    socket.on('error', (error) => resolve(!isPlainTextAnswer(error)));
    socket.once('close', () => resolve(true));
  }).finally(() => socket.destroy());
}

function withHttp(url: URL): URL {
  const port = url.port === '' ? '443' : url.port;
  const plain = new URL(url);
  plain.protocol = 'http:';
  plain.port = port;
  return plain;
}
