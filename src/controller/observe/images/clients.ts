import { anonymousKeychain } from '../../../registry/credentials/keychain.ts';
import { pullSecretContentKeychain } from '../../../registry/credentials/pull-secret.ts';
import { RegistryClient } from '../../../registry/image/client.ts';
import type { Logger } from '../../../shared/logger.ts';
import { accessKey, type ImageAccess } from './access.ts';

/** The most unused clients whose connections and tokens are kept. */
const maxIdle = 32;

/** Reconcilers retry later themselves: within a lookup, only brief failures are waited out. */
const patience = { retries: 2, maxRetryAfter: 5000, idleTimeout: 30_000 };

export interface ClientsOptions {
  readonly userAgent: string;
  /** Authorities trusted besides the system's; PEM. */
  readonly trustedCertificates?: string | undefined;
  readonly log: Logger;
}

interface Entry {
  readonly client: RegistryClient;
  users: number;
}

/** Registry clients, one per access, so that connections and tokens are reused. */
export class Clients {
  readonly #options: ClientsOptions;
  /** Least recently used first. */
  readonly #entries = new Map<string, Entry>();

  constructor(options: ClientsOptions) {
    this.#options = options;
  }

  /** Lends a client until `use` has finished. */
  async with<T>(access: ImageAccess, use: (client: RegistryClient) => Promise<T>): Promise<T> {
    const key = accessKey(access);
    const entry = this.#entries.get(key) ?? { client: this.#open(access), users: 0 };
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    entry.users += 1;
    try {
      return await use(entry.client);
    } finally {
      entry.users -= 1;
      await this.#shrink();
    }
  }

  /** Closes all connections. */
  async close(): Promise<void> {
    const entries = [...this.#entries.values()];
    this.#entries.clear();
    await Promise.all(entries.map(({ client }) => client.close()));
  }

  #open({ tls, pullSecrets }: ImageAccess): RegistryClient {
    const { userAgent, trustedCertificates, log } = this.#options;
    return new RegistryClient({
      ...patience,
      keychain: pullSecrets.length === 0 ? anonymousKeychain : pullSecretContentKeychain(pullSecrets),
      plainHttp: tls.insecure,
      insecureSkipTlsVerify: tls.insecureSkipTLSVerify,
      certificateAuthorities: trustedCertificates === undefined ? [] : [trustedCertificates],
      userAgent,
      logger: log,
    });
  }

  async #shrink(): Promise<void> {
    const idle = Array.from(this.#entries).filter(([, { users }]) => users === 0);
    for (const [key, { client }] of idle.slice(0, Math.max(0, idle.length - maxIdle))) {
      this.#entries.delete(key);
      await client.close();
    }
  }
}
