import type { Digest } from '../model/digest.ts';
import { RegistryError } from '../model/errors.ts';
import type { Descriptor, Manifest } from '../model/manifest.ts';
import type { ImageRepository, OperationOptions } from './repository.ts';

/** Nesting depth of indexes. Images have one level, rarely two. */
const maxDepth = 8;
/** The most children to follow, each counted as often as it is referenced. */
const maxChildren = 1000;
/** The most bytes of all manifests read. */
const maxBytes = 64 * 1024 * 1024;

/** The depth of a child: 1 for those referenced by the manifest at the top. */
export interface ChildPosition extends OperationOptions {
  readonly depth: number;
}

/**
 * Reads the manifests below one, each once, within limits: manifests that reference each other must not
 * recurse for ever.
 */
export class ManifestReader {
  readonly #repository: ImageRepository;
  readonly #known = new Map<Digest, Promise<Manifest>>();
  #followed = 0;
  #bytes = 0;

  constructor(repository: ImageRepository) {
    this.#repository = repository;
  }

  /**
   * Follows an index to one of its children.
   * @throws RegistryError LIMIT_EXCEEDED and what reading a manifest throws
   */
  async read({ digest }: Pick<Descriptor, 'digest'>, { depth, signal }: ChildPosition): Promise<Manifest> {
    this.#followed += 1;
    if (depth > maxDepth) throw this.#tooMuch(`are more than ${maxDepth} levels deep`);
    if (this.#followed > maxChildren) throw this.#tooMuch(`are more than ${maxChildren}`);
    const known = this.#known.get(digest) ?? this.#get(digest, signal);
    this.#known.set(digest, known);
    return known;
  }

  async #get(digest: Digest, signal: AbortSignal | undefined): Promise<Manifest> {
    const manifest = await this.#repository.getManifest({ digest }, { signal });
    this.#bytes += manifest.raw.bytes.length;
    if (this.#bytes > maxBytes) throw this.#tooMuch(`have more than ${maxBytes} bytes`);
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
