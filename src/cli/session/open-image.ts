import { RegistryClient } from '../../registry/image/client.ts';
import type { ImageRepository } from '../../registry/image/repository.ts';
import {
  type ImageLocationReference,
  openRepository,
  parseImageLocation,
  selectorOf,
} from '../../registry/open-repository.ts';
import type { ImageLocation } from '../../signer/image/read/platform-images.ts';
import type { RegistryFlags } from '../options/registry-flags.ts';
import { usageError } from '../output/usage-error.ts';
import { registryOptions } from './registry-options.ts';
import type { Session } from './session.ts';

/** Where to publish an image. */
export interface Destination {
  readonly repository: ImageRepository;
  readonly tag: string | undefined;
}

/**
 * Opens the images named by IMAGE arguments, and closes them when its scope ends. Images with the same
 * registry options share connections and tokens. Use with `await using`.
 */
export class Images implements AsyncDisposable {
  readonly #session: Session;
  readonly #clients = new Map<string, Promise<RegistryClient>>();
  readonly #repositories: ImageRepository[] = [];

  constructor(session: Session) {
    this.#session = session;
  }

  /** Opens an image. @throws CliError USAGE, RegistryError INVALID_REFERENCE, INVALID_CONFIGURATION */
  async open(text: string, flags: RegistryFlags): Promise<ImageLocation> {
    const location = parseImageLocation(text);
    const repository = await this.#repository(location, flags);
    return { repository, selector: await selectorOf(location, repository) };
  }

  /**
   * Opens the repository named by DESTINATION.
   * @throws CliError USAGE, RegistryError INVALID_REFERENCE, INVALID_CONFIGURATION
   */
  async openDestination(text: string, flags: RegistryFlags): Promise<Destination> {
    const location = parseImageLocation(text);
    const { tag, digest } = location.kind === 'registry' ? location.reference : location;
    if (digest !== undefined) {
      throw usageError(
        `The destination "${text}" contains a digest`,
        'Name a tag instead: the digest of the result is not known yet.',
      );
    }
    return { repository: await this.#repository(location, flags), tag };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#repositories.map((repository) => repository.close()));
    for (const client of await Promise.allSettled(this.#clients.values())) {
      if (client.status === 'fulfilled') await client.value.close();
    }
  }

  async #repository(location: ImageLocationReference, flags: RegistryFlags): Promise<ImageRepository> {
    const repository =
      location.kind === 'layout'
        ? await openRepository(location)
        : (await this.#client(flags)).repository(location.reference);
    this.#repositories.push(repository);
    this.#session.progress.watch(repository);
    return repository;
  }

  #client(flags: RegistryFlags): Promise<RegistryClient> {
    const key = JSON.stringify(flags);
    const known = this.#clients.get(key);
    if (known !== undefined) return known;
    const client = registryOptions(flags, this.#session).then((options) => new RegistryClient(options));
    this.#clients.set(key, client);
    return client;
  }
}
