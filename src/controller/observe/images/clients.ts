import { createHash } from 'node:crypto';
import type { RegistryTls } from '../../../api/module/build-and-sign.ts';
import { anonymousKeychain } from '../../../registry/credentials/keychain.ts';
import {
  pullSecretContentKeychain,
  type PullSecretContent,
} from '../../../registry/credentials/pull-secret.ts';
import { RegistryClient, type RegistryClientOptions } from '../../../registry/image/client.ts';
import { RegistryError } from '../../../registry/model/errors.ts';
import type { ErrorFacts } from '../../../shared/errors.ts';

/** How to access an image. */
export interface ImageAccess {
  readonly tls: RegistryTls;
  readonly pullSecrets: readonly PullSecretContent[];
}

/** Returns a key that is equal for equal accesses. It has no credentials, only a hash of them. */
export function accessKey({ tls, pullSecrets }: ImageAccess): string {
  const { insecure = false, insecureSkipTLSVerify = false } = tls;
  const contents = pullSecrets.map(({ key, json, source }) => [source, key, json.reveal()]);
  return createHash('sha256')
    .update(JSON.stringify([insecure, insecureSkipTLSVerify, contents]))
    .digest('hex');
}

/** The most unused clients whose connections and tokens are kept. */
const maxIdle = 32;

/** Reconcilers retry later themselves: within a lookup, only brief failures are waited out. */
const timeouts = { retries: 2, maxRetryAfter: 5000, idleTimeout: 30_000 };

/** What all clients have in common. */
export type CommonClientOptions = Pick<
  RegistryClientOptions,
  'userAgent' | 'certificateAuthorities' | 'logger'
>;

interface Entry {
  readonly client: RegistryClient;
  users: number;
}

/** Registry clients, one per access, so that connections and tokens are reused. */
export class Clients {
  readonly #common: CommonClientOptions;
  /** Least recently used first. */
  readonly #entries = new Map<string, Entry>();

  constructor(common: CommonClientOptions) {
    this.#common = common;
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
      await this.#closeIdle();
    }
  }

  /** Closes all connections. */
  async close(): Promise<void> {
    const entries = [...this.#entries.values()];
    this.#entries.clear();
    await Promise.all(entries.map(({ client }) => client.close()));
  }

  #open({ tls, pullSecrets }: ImageAccess): RegistryClient {
    return new RegistryClient({
      ...this.#common,
      ...timeouts,
      keychain: pullSecrets.length === 0 ? anonymousKeychain : pullSecretContentKeychain(pullSecrets),
      plainHttp: tls.insecure,
      insecureSkipTlsVerify: tls.insecureSkipTLSVerify,
    });
  }

  async #closeIdle(): Promise<void> {
    const idle = Array.from(this.#entries).filter(([, { users }]) => users === 0);
    for (const [key, { client }] of idle.slice(0, Math.max(0, idle.length - maxIdle))) {
      this.#entries.delete(key);
      await client.close();
    }
  }
}

/** Codes that registries also return for images that do not exist, to clients without access. */
const refusals: ReadonlySet<string> = new Set(['UNAUTHORIZED', 'DENIED']);

/**
 * Returns a registry's refusal with a hint for the author of the Module, who provides credentials as pull
 * Secrets: it names the Secrets, and the users whose credentials were refused. Other errors are unchanged.
 */
export function withPullSecretHint(error: unknown, { pullSecrets }: ImageAccess): unknown {
  if (!(error instanceof RegistryError) || !refusals.has(error.code)) return error;
  const { code, message, facts, cause } = error;
  const sources = pullSecrets.map(({ source }) => source);
  const hint = `${adviceFor(facts, sources)} Some registries (Quay, Docker Hub) also refuse requests for a repository that does not exist.`;
  return new RegistryError({ code, message, hint, facts, cause });
}

function adviceFor({ credentials, registry }: ErrorFacts, sources: readonly string[]): string {
  if (sources.length === 0) return 'No credentials were sent: name a pull secret in imageRepoSecret.';
  if (!Array.isArray(credentials)) {
    return `Check that these have credentials that may read it: ${sources.join(', ')}.`;
  }
  return credentials.length === 0
    ? `None of these has credentials for ${String(registry)}: ${sources.join(', ')}.`
    : `Check whether these credentials are valid and may read it: ${credentials.join(' and ')}.`;
}
