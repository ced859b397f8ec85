import { homedir } from 'node:os';
import { silentLogger } from '../../shared/logger.ts';
import { LruMap } from '../../shared/lru.ts';
import { createDefaultKeychain } from '../credentials/default-keychain.ts';
import type { Keychain } from '../credentials/keychain.ts';
import {
  createRegistryTransport,
  type RegistryOptions,
  type RegistryTransport,
} from '../http/registry-transport.ts';
import { RemoteRepository } from './remote-repository.ts';
import type { ImageRepository } from './repository.ts';
import type { Reference } from '../model/reference.ts';

/** How to connect to registries, and with which credentials. */
export interface RegistryClientOptions extends RegistryOptions {
  /** Looks up credentials. @default what `credentials` describes */
  readonly keychain?: Keychain | undefined;
}

/**
 * The most registries whose connections, credentials and tokens are cached; evicted ones keep working for
 * their users.
 */
const maxRegistries = 1000;

/**
 * A client for any number of registries. Repositories of one registry share connections and tokens.
 *
 * ```ts
 * const client = new RegistryClient();
 * const repository = client.repository(parseReference('registry.example/vendor/driver'));
 * const { digest } = await repository.resolve({ tag: '1.0' });
 * await client.close();
 * ```
 */
export class RegistryClient {
  readonly #options: RegistryClientOptions;
  readonly #keychain: Keychain;
  #connections = new LruMap<RegistryTransport>(maxRegistries);

  constructor(options: RegistryClientOptions = {}) {
    this.#options = options;
    this.#keychain = options.keychain ?? defaultKeychain(options);
  }

  /**
   * Opens a repository; nothing is sent until it is used. Closing it leaves the client open, unless
   * `closesClient`.
   * @throws RegistryError INVALID_REFERENCE
   */
  repository(
    { registry, repository }: Pick<Reference, 'registry' | 'repository'>,
    { closesClient = false }: { readonly closesClient?: boolean } = {},
  ): ImageRepository {
    const onClose = closesClient ? () => this.close() : undefined;
    const { retryDelay, logger } = this.#options;
    return new RemoteRepository({
      connection: this.#connection(registry),
      registry,
      repository,
      retryDelay,
      logger,
      onClose,
    });
  }

  /** Closes all connections. */
  async close(): Promise<void> {
    const connections = this.#connections.values();
    this.#connections = new LruMap(maxRegistries);
    await Promise.all(connections.map((connection) => connection.close()));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #connection(registry: string): RegistryTransport {
    const known = this.#connections.get(registry);
    if (known !== undefined) return known;
    const connection = createRegistryTransport(registry, this.#keychain, this.#options);
    this.#connections.set(registry, connection);
    return connection;
  }
}

function defaultKeychain({
  credentials = {},
  environment = process.env,
  logger = silentLogger,
}: RegistryOptions): Keychain {
  return createDefaultKeychain(credentials, environment['HOME'] ?? homedir(), { environment, logger });
}
