import { connect, createSecureContext } from 'node:tls';
import { abortable } from '../../shared/abortable.ts';
import { once } from '../../shared/flights.ts';
import type { Logger } from '../../shared/logger.ts';
import { bareHost } from './address.ts';
import { isPlainTextResponse, isTlsFailure } from './network-error.ts';
import type { Transport } from './transport.ts';

/** The origin of a registry; for literal localhost, its scheme may turn out to be http. */
export interface RegistryOrigin {
  url: URL;
}

const localHosts: ReadonlySet<string> = new Set(['localhost', '127.0.0.1', '[::1]']);

/** Milliseconds within which a server on this machine must respond to a TLS handshake. */
const probeTimeout = 5000;

/**
 * Falls back to http for a registry on this machine that does not speak TLS. Elsewhere, plain HTTP must be
 * enabled explicitly. The server is probed before the first request, so that no certificates are read
 * needlessly. The layer belongs below retries: a server that comes up late is probed at each of them.
 */
export function withPlainHttpFallback(inner: Transport, origin: RegistryOrigin, logger: Logger): Transport {
  if (!localHosts.has(origin.url.hostname) || origin.url.protocol === 'http:') return inner;
  const probe = once(async () => {
    const protocol = await probeProtocol(origin.url);
    // A registry that is not up yet is probed again.
    if (protocol === undefined) throw new Inconclusive();
    if (protocol === 'tls') return;
    logger.debug('The local registry does not use TLS, continuing without it', { registry: origin.url.host });
    origin.url = withHttp(origin.url);
  });
  return async (request) => {
    await abortable(probe(), request.signal).catch((error: unknown) => {
      if (!(error instanceof Inconclusive)) throw error;
    });
    const { url } = request;
    const isRegistry = url.protocol === 'https:' && url.host === origin.url.host;
    return inner(
      isRegistry && origin.url.protocol === 'http:' ? { ...request, url: withHttp(url) } : request,
    );
  };
}

/** The probe was inconclusive. */
class Inconclusive extends Error {}

/**
 * Probes which protocol a server speaks; undefined if that is inconclusive. Only a response that is certainly
 * not TLS counts as plain HTTP; nothing is sent except the start of a handshake.
 */
function probeProtocol(url: URL): Promise<'tls' | 'plain' | undefined> {
  const socket = connect({
    host: bareHost(url),
    port: url.port === '' ? 443 : Number(url.port),
    // Nothing is sent after the handshake, so there is nothing to verify.
    rejectUnauthorized: false,
    secureContext: createSecureContext({ ca: [] }),
  });
  return new Promise<'tls' | 'plain' | undefined>((resolve) => {
    socket.setTimeout(probeTimeout, () => resolve(undefined));
    socket.once('secureConnect', () => resolve('tls'));
    socket.on('error', (error) =>
      resolve(isPlainTextResponse(error) ? 'plain' : isTlsFailure(error) ? 'tls' : undefined),
    );
    socket.once('close', () => resolve(undefined));
  }).finally(() => socket.destroy());
}

function withHttp(url: URL): URL {
  const port = url.port === '' ? '443' : url.port;
  const plain = new URL(url);
  plain.protocol = 'http:';
  plain.port = port;
  return plain;
}
