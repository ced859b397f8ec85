import type { Digest } from '../model/digest.ts';
import { RegistryError } from '../model/errors.ts';
import type { Descriptor, Manifest } from '../model/manifest.ts';
import type { ImageRepository, OperationOptions } from './repository.ts';

/** Indexes within indexes. Images have one, seldom two. */
const maxDepth = 8;
/** Children that are followed, each as often as it is named. */
const maxChildren = 1000;
/** Bytes of all manifests that are read. */
const maxBytes = 64 * 1024 * 1024;

/** A child and how deep it lies: 1 is named by the manifest at the top. */
export interface ChildPosition extends OperationOptions {
  readonly depth: number;
}

/** Reads the manifests below one, each once, and only so many: manifests that name each other must not go on for ever. */
export class ManifestReader {
  readonly #repository: ImageRepository;
  readonly #known = new Map<Digest, Manifest>();
  #followed = 0;
  #bytes = 0;

  constructor(repository: ImageRepository) {
    this.#repository = repository;
  }

  /** Follows an index to one of its children. @throws RegistryError LIMIT_EXCEEDED and what reading a manifest throws */
  async read({ digest }: Pick<Descriptor, 'digest'>, { depth, signal }: ChildPosition): Promise<Manifest> {
    this.#followed += 1;
    if (depth > maxDepth) throw this.#tooMuch(`lie more than ${maxDepth} levels deep`);
    if (this.#followed > maxChildren) throw this.#tooMuch(`are more than ${maxChildren}`);
    const known = this.#known.get(digest);
    if (known !== undefined) return known;
    const manifest = await this.#repository.getManifest({ digest }, { signal });
    this.#bytes += manifest.raw.bytes.length;
    if (this.#bytes > maxBytes) throw this.#tooMuch(`have more than ${maxBytes} bytes`);
    this.#known.set(digest, manifest);
    return manifest;
  }

  #tooMuch(what: string): RegistryError {
    const { name } = this.#repository;
    return new RegistryError({
      code: 'LIMIT_EXCEEDED',
      message: `The manifests below the index of ${name} ${what}`,
      hint: 'Name one image by its digest in place of the index.',
      facts: { repository: name },
    });
  }
}
