import { homedir } from 'node:os';
import pLimit, { type LimitFunction } from 'p-limit';
import { abortable } from '../../shared/abortable.ts';
import { type Logger, silentLogger } from '../../shared/logger.ts';
import { LruMap } from '../../shared/lru.ts';
import type { CredentialSource } from '../credentials/default-keychain.ts';
import type { Keychain } from '../credentials/keychain.ts';
import { RegistryError } from '../model/errors.ts';
import { dockerHub } from '../model/reference.ts';
import { createAgents } from './agents.ts';
import { certificateDirectories, readTlsMaterial } from './certificate-files.ts';
import { createGotTransport } from './got-transport.ts';
import type { Transport } from './transport.ts';
import { withAuthentication } from './with-authentication.ts';
import { withLog, withWarnings } from './with-log.ts';
import { type RegistryOrigin, withPlainHttpFallback } from './with-plain-http-fallback.ts';
import { withRedirects } from './redirects.ts';
import { withAllAuthorities } from './with-all-authorities.ts';
import { withRetry } from './with-retry.ts';

/** How to connect to a registry. */
export interface RegistryOptions {
  /** @default the usual files, see `createDefaultKeychain` */
  readonly credentials?: CredentialSource | undefined;
  /** Use HTTP without TLS. @default false; the literal host localhost falls back to it automatically */
  readonly plainHttp?: boolean | undefined;
  /**
   * Hosts of token servers (`auth.example:5001`) that may be sent credentials over plain HTTP for a registry
   * with `plainHttp`.
   * @default only the registry's own host
   */
  readonly plainHttpTokenServers?: readonly string[] | undefined;
  /** Accept any server certificate. @default false */
  readonly insecureSkipTlsVerify?: boolean | undefined;
  /** PEM files with certificate authorities to trust in addition to the system's. */
  readonly caFiles?: readonly string[] | undefined;
  /** The same, as PEM text. */
  readonly certificateAuthorities?: readonly string[] | undefined;
  /** PEM files of the client certificate and its key. */
  readonly clientCertificate?: { readonly certFile: string; readonly keyFile: string } | undefined;
  /**
   * A directory with `*.crt`, `*.cert` and `*.key` for this registry.
   * @default the certs.d directories of docker and containers
   */
  readonly certDirectory?: string | undefined;
  /** Milliseconds without a byte before a connection is considered dead. @default 60 000 */
  readonly idleTimeout?: number | undefined;
  /** Retries of a request after a transient failure. @default 4 */
  readonly retries?: number | undefined;
  /** Milliseconds before the first retry; doubled with each further one. @default 500 */
  readonly retryDelay?: number | undefined;
  /** The longest Retry-After that is honoured, in milliseconds. @default 120 000 */
  readonly maxRetryAfter?: number | undefined;
  /** Concurrent requests per host. @default 6 */
  readonly concurrency?: number | undefined;
  /** @default silent */
  readonly logger?: Logger | undefined;
  /** @default kmm-sign */
  readonly userAgent?: string | undefined;
  /** Where proxy settings and credential locations are read from. @default process.env */
  readonly environment?: Readonly<Record<string, string | undefined>> | undefined;
}

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

  const adapter = withAllAuthorities(
    createGotTransport((url) => agents.for(url), settings.idleTimeout),
    agents,
  );
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
