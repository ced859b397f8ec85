import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import type { LookupFunction, OnReadOpts, Socket } from 'node:net';
import { createSecureContext, getCACertificates, type SecureContext } from 'node:tls';
import { RegistryError } from '../model/errors.ts';
import type { TlsMaterial } from './certificate-files.ts';
import { createCheckedLookup } from './address.ts';
import type { AgentPair } from './got-transport.ts';
import { proxyFor } from './proxy.ts';

export interface AgentsOptions {
  /** The registry's own host name, the only one to be sent our client certificate. */
  readonly registryHost: string;
  /** Reads certificates; called for the first TLS connection to each host, and again once all authorities are trusted. */
  readonly readTlsMaterial: () => Promise<TlsMaterial>;
  readonly insecureSkipTlsVerify: boolean;
  /** The source of HTTP_PROXY, HTTPS_PROXY and NO_PROXY. */
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/** Connections that are kept open between requests. */
export interface Agents {
  for(url: URL): Promise<AgentPair>;
  /**
   * Tells whether new connections trust all authorities: those given, Node's and the system's. To read them takes longer
   * than all else that TLS needs, so that until `trustAll` only those given are trusted, or Node's if none are.
   */
  trustsAll(): boolean;
  /** Makes new connections trust all authorities. */
  trustAll(): void;
  close(): Promise<void>;
}

/** Creates the connection pools of one registry. */
export function createAgents(options: AgentsOptions): Agents {
  const pools = new Map<string, Promise<AgentPair>>();
  const checkedLookup = createCheckedLookup(options.registryHost);
  let all = false;
  return {
    // Async, so that an unusable proxy is a rejection, too.
    async for(url) {
      const kind = {
        own: url.hostname === options.registryHost,
        tls: url.protocol === 'https:',
        all: url.protocol === 'https:' && all,
        proxy: proxyFor(url, options.environment)?.href ?? null,
      };
      const key = JSON.stringify(kind);
      const pool = pools.get(key) ?? createPool(options, kind, checkedLookup);
      pools.set(key, pool);
      // Files that could not be read may exist at the next attempt.
      pool.catch(() => pools.delete(key));
      return pool;
    },
    trustsAll: () => all,
    trustAll() {
      all = true;
    },
    async close() {
      for (const pool of await Promise.allSettled(pools.values())) {
        if (pool.status === 'rejected') continue;
        pool.value.http?.destroy();
        pool.value.https?.destroy();
      }
      pools.clear();
    },
  };
}

/** Bytes that are read at a time. */
const readSize = 64 * 1024;

interface PoolKind {
  readonly own: boolean;
  readonly tls: boolean;
  /** Whether all authorities are trusted. */
  readonly all: boolean;
  /** Null for direct connections. */
  readonly proxy: string | null;
}

async function createPool(
  options: AgentsOptions,
  { own, tls, all, proxy }: PoolKind,
  checkedLookup: LookupFunction,
): Promise<AgentPair> {
  const shared = {
    keepAlive: true,
    // A proxy resolves names itself; Node reads its answer from the stream.
    ...(proxy === null
      ? { onread: readIntoOneBuffer() }
      : { proxyEnv: { HTTP_PROXY: proxy, HTTPS_PROXY: proxy } }),
    ...(own || proxy !== null ? {} : { lookup: checkedLookup }),
  };
  if (!tls) return { http: new HttpAgent(shared) };
  const secureContext = contextOf(await options.readTlsMaterial(), { own, all });
  const rejectUnauthorized = !options.insecureSkipTlsVerify;
  return { https: new HttpsAgent({ ...shared, secureContext, rejectUnauthorized }) };
}

/**
 * Has connections read into one buffer, of which the parser of HTTP copies what it passes on: with a new one for each read,
 * the garbage collector would let tens of megabytes pile up.
 */
function readIntoOneBuffer(): OnReadOpts {
  return {
    buffer: Buffer.allocUnsafeSlow(readSize),
    callback(this: Socket, count: number, buffer: Uint8Array) {
      this.emit('data', buffer.subarray(0, count));
      return true;
    },
  };
}

/** Creates one context for all connections: parsing hundreds of authorities for each would be slow. */
function contextOf(
  { authorities, certificate, key }: TlsMaterial,
  { own, all }: Pick<PoolKind, 'own' | 'all'>,
): SecureContext {
  const trusted = all
    ? [...getCACertificates('default'), ...getCACertificates('system'), ...authorities]
    : authorities;
  // Without `ca`, Node's own are trusted, which it has in memory already.
  const ca = all || authorities.length > 0 ? { ca: [...new Set(trusted)] } : {};
  try {
    return createSecureContext({
      ...ca,
      ...(own && certificate !== undefined && key !== undefined ? { cert: certificate, key } : {}),
    });
  } catch (error) {
    throw new RegistryError({
      code: 'INVALID_CONFIGURATION',
      message: 'The certificate authorities or the client certificate cannot be used for TLS',
      hint: 'Check that the files are complete, that the key belongs to the certificate, and that the key has no passphrase.',
      facts: { reason: error instanceof Error && 'code' in error ? String(error.code) : 'UNKNOWN' },
    });
  }
}
