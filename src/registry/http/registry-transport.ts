import { homedir } from 'node:os';
import pLimit, { type LimitFunction } from 'p-limit';
import { abortable } from '../../shared/abortable.ts';
import { silentLogger } from '../../shared/logger.ts';
import { LruMap } from '../../shared/lru.ts';
import type { Keychain } from '../credentials/keychain.ts';
import { RegistryError } from '../model/errors.ts';
import type { RegistryOptions } from '../model/options.ts';
import { dockerHub } from '../model/reference.ts';
import { createAgents } from './agents.ts';
import { certificateDirectories, readTlsMaterial } from './certificate-files.ts';
import { createGotTransport } from './got-transport.ts';
import type { Transport } from './transport.ts';
import { withAuthentication } from './with-authentication.ts';
import { withLog, withWarnings } from './with-log.ts';
import { type RegistryOrigin, withPlainHttpFallback } from './with-plain-http-fallback.ts';
import { withRedirects } from './redirects.ts';
import { withRetry } from './with-retry.ts';

/** The host of Docker Hub's API, which differs from its name. */
const dockerHubApi = 'registry-1.docker.io';

const defaults = {
  idleTimeout: 60_000,
  retries: 4,
  retryDelay: 500,
  maxRetryAfter: 120_000,
  concurrency: 6,
  userAgent: 'kmm-sign',
};

/** The transport to one registry. */
export interface RegistryTransport {
  readonly transport: Transport;
  /** `https://registry.example:5000`; for literal localhost, the scheme is known after the first request. */
  readonly origin: () => string;
  /**
   * Returns the URL of a path below `/v2/`, such as `vendor/driver/manifests/1.0`; a query is kept unchanged.
   */
  readonly url: (path: string) => URL;
  /** Closes the connections. */
  readonly close: () => Promise<void>;
}

/**
 * Builds the chain of layers that requests to one registry pass through. Retries are below authentication, so
 * that token requests have them too and nothing is retried twice over. Redirects are below retries, so that a
 * retry starts at the registry again; so is the choice of plain HTTP for a local registry.
 * @param registry host and port as in a reference
 */
export function createRegistryTransport(
  registry: string,
  keychain: Keychain,
  options: RegistryOptions,
): RegistryTransport {
  const logger = options.logger ?? silentLogger;
  const settings = { ...defaults, ...defined(options) };
  const origin: RegistryOrigin = { url: originOf(registry, options.plainHttp ?? false) };
  const agents = createAgents({
    registryHost: origin.url.hostname,
    readTlsMaterial: () =>
      readTlsMaterial({
        authorities: options.certificateAuthorities,
        caFiles: options.caFiles ?? [],
        clientCertificate: options.clientCertificate,
        certDirectories:
          options.certDirectory === undefined
            ? certificateDirectories(registry, homedir())
            : [options.certDirectory],
      }),
    insecureSkipTlsVerify: options.insecureSkipTlsVerify ?? false,
    environment: options.environment ?? process.env,
  });

  const adapter = createGotTransport((url) => agents.for(url), settings.idleTimeout);
  const logged = withLog(withUserAgent(withLimit(adapter, settings.concurrency), settings.userAgent), logger);
  const redirected = withRedirects(logged, () => origin.url);
  const retried = withRetry(withPlainHttpFallback(redirected, origin, logger), { ...settings, logger });
  const authenticated = withAuthentication(retried, {
    registry,
    origin: () => origin.url,
    keychain,
    plainHttpTokenServers: options.plainHttpTokenServers ?? [],
    logger,
    now: Date.now,
  });
  return {
    transport: withWarnings(authenticated, logger),
    origin: () => origin.url.origin,
    url: (path) => new URL(`/v2/${path}`, origin.url),
    close: () => agents.close(),
  };
}

function originOf(registry: string, plainHttp: boolean): URL {
  const text = `${plainHttp ? 'http' : 'https'}://${registry === dockerHub ? dockerHubApi : registry}/`;
  if (!URL.canParse(text)) {
    throw new RegistryError({
      code: 'INVALID_REFERENCE',
      message: `${JSON.stringify(registry)} is not a registry's host and port`,
      hint: 'Write it as registry.example:5000.',
      facts: { registry },
    });
  }
  return new URL(text);
}

/** Drops options that are undefined. */
function defined(options: RegistryOptions): Partial<typeof defaults> {
  const { idleTimeout, retries, retryDelay, maxRetryAfter, concurrency, userAgent } = options;
  return Object.fromEntries(
    Object.entries({ idleTimeout, retries, retryDelay, maxRetryAfter, concurrency, userAgent }).filter(
      ([, value]) => value !== undefined,
    ),
  );
}

/** Sends `User-Agent` with every request. */
function withUserAgent(inner: Transport, userAgent: string): Transport {
  return (request) => inner({ ...request, headers: { 'user-agent': userAgent, ...request.headers } });
}

/** The most hosts to remember: a registry may redirect to any number of them. */
const maxHosts = 1000;

/**
 * Limits the requests to one host that wait for a response at the same time. Streamed uploads have a separate
 * limit: their bodies may come from a download that needs its turn, too.
 */
export function withLimit(inner: Transport, concurrency: number): Transport {
  const limits = new LruMap<LimitFunction>(maxHosts);
  return (request) => {
    const key = `${typeof request.body === 'function' ? 'upload' : 'request'} ${request.url.host}`;
    const limit = limits.get(key) ?? pLimit(concurrency);
    limits.set(key, limit);
    const response = limit(() => {
      request.signal?.throwIfAborted();
      return inner(request);
    });
    // Abort also while waiting for a turn.
    return abortable(response, request.signal);
  };
}
