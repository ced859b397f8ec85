import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import type { LookupFunction } from 'node:net';
import { createSecureContext, getCACertificates, type SecureContext } from 'node:tls';
import { RegistryError } from '../model/errors.ts';
import type { TlsMaterial } from './certificate-files.ts';
import { createCheckedLookup } from './address.ts';
import type { AgentPair } from './got-transport.ts';
import { proxyFor } from './proxy.ts';

export interface AgentsOptions {
  /** The registry's own host name: only it is shown our client certificate. */
  readonly registryHost: string;
  /** Reads certificates; called once, when the first TLS connection is made. */
  readonly readTlsMaterial: () => Promise<TlsMaterial>;
  readonly insecureSkipTlsVerify: boolean;
  /** For HTTP_PROXY, HTTPS_PROXY and NO_PROXY. */
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/** Connections that are kept open between requests. */
export interface Agents {
  for(url: URL): Promise<AgentPair>;
  close(): Promise<void>;
}

/** Makes the connection pools of one registry. */
export function createAgents(options: AgentsOptions): Agents {
  const pools = new Map<string, Promise<AgentPair>>();
  const checkedLookup = createCheckedLookup(options.registryHost);
  return {
    // It is a rejection, too, when there is a proxy that cannot be used.
    async for(url) {
      const kind = {
        own: url.hostname === options.registryHost,
        tls: url.protocol === 'https:',
        proxy: proxyFor(url, options.environment)?.href ?? null,
      };
      const key = JSON.stringify(kind);
      const pool = pools.get(key) ?? createPool(options, kind, checkedLookup);
      pools.set(key, pool);
      // Files that could not be read may be there at the next try.
      pool.catch(() => pools.delete(key));
      return pool;
    },
    async close() {
      for (const pool of await Promise.allSettled(pools.values())) {
        if (pool.status === 'rejected') continue;
        pool.value.http.destroy();
        pool.value.https.destroy();
      }
      pools.clear();
    },
  };
}

interface PoolKind {
  readonly own: boolean;
  readonly tls: boolean;
  /** Null: connections go to the host itself. */
  readonly proxy: string | null;
}

async function createPool(
  options: AgentsOptions,
  { own, tls, proxy }: PoolKind,
  checkedLookup: LookupFunction,
): Promise<AgentPair> {
  const shared = {
    keepAlive: true,
    // A proxy looks names up itself.
    ...(proxy === null ? {} : { proxyEnv: { HTTP_PROXY: proxy, HTTPS_PROXY: proxy } }),
    ...(own || proxy !== null ? {} : { lookup: checkedLookup }),
  };
  const secureContext = tls ? contextOf(await options.readTlsMaterial(), own) : undefined;
  return {
    http: new HttpAgent(shared),
    https: new HttpsAgent({
      ...shared,
      ...(secureContext === undefined ? {} : { secureContext }),
      rejectUnauthorized: !options.insecureSkipTlsVerify,
    }),
  };
}

/** One context for all connections: parsing hundreds of authorities for each would be slow. */
function contextOf({ authorities, certificate, key }: TlsMaterial, own: boolean): SecureContext {
  const ca = [...new Set([...getCACertificates('default'), ...getCACertificates('system'), ...authorities])];
  try {
    return createSecureContext({
      ca,
      ...(own && certificate !== undefined && key !== undefined ? { cert: certificate, key } : {}),
    });
  } catch (error) {
    throw new RegistryError({
      code: 'INVALID_CONFIGURATION',
      message: 'The certificate authorities or the client certificate cannot be used for TLS',
      hint: 'Check that the files are whole, that the key belongs to the certificate, and that the key has no passphrase.',
      facts: { reason: error instanceof Error && 'code' in error ? String(error.code) : 'UNKNOWN' },
    });
  }
}
