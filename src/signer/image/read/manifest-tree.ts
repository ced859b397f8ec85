import { classifyManifest, type ClassifiedManifest } from '../../../registry/image/classify.ts';
import { ManifestReader } from '../../../registry/image/manifest-reader.ts';
import type { ImageRepository } from '../../../registry/image/repository.ts';
import type {
  ChildDescriptor,
  ImageIndex,
  ImageManifest,
  Manifest,
} from '../../../registry/model/manifest.ts';
import type { Platform } from '../../../registry/model/platform.ts';
import { mapAhead } from '../../../shared/parallel.ts';

/** Children of an index that are read at a time. */
const childrenAtATime = 4;

/** A manifest, and what it is. */
export type TreeNode =
  | { readonly kind: 'index'; readonly manifest: ImageIndex }
  | { readonly kind: 'image'; readonly manifest: ImageManifest; readonly classified: ClassifiedManifest }
  /** Nobody wants to know. */
  | { readonly kind: 'unwanted'; readonly manifest: Manifest };

/** A child of an index. */
export interface TreeChild {
  readonly item: ChildDescriptor;
  readonly result: TreeNode;
}

/**
 * Reads what is small in an image or an index: manifests, and the configurations that say what they are. Children are
 * read ahead of their turn: a registry that is far away takes as long for one as for a few.
 */
export class ManifestTree {
  readonly #repository: ImageRepository;
  readonly #reader: ManifestReader;
  readonly #signal: AbortSignal | undefined;

  constructor(repository: ImageRepository, signal: AbortSignal | undefined) {
    this.#repository = repository;
    this.#reader = new ManifestReader(repository);
    this.#signal = signal;
  }

  /** Finds out what the manifest at the top is. @throws RegistryError */
  top(manifest: Manifest): Promise<TreeNode> {
    return this.#classify(manifest, undefined, this.#signal);
  }

  /**
   * Reads children in their order, and finds out what those are that somebody wants to know.
   * @param depth 1 for those of the manifest at the top
   * @throws RegistryError
   */
  children(
    descriptors: readonly ChildDescriptor[],
    depth: number,
    isWanted: (child: ChildDescriptor) => boolean,
  ): AsyncGenerator<TreeChild> {
    const read = async (child: ChildDescriptor, signal: AbortSignal): Promise<TreeNode> => {
      const manifest = await this.#reader.read(child, { depth, signal });
      if (!isWanted(child)) return { kind: 'unwanted', manifest };
      return this.#classify(manifest, child.platform, signal);
    };
    return mapAhead(descriptors, childrenAtATime, read, this.#signal);
  }

  async #classify(
    manifest: Manifest,
    described: Platform | undefined,
    signal: AbortSignal | undefined,
  ): Promise<TreeNode> {
    if (manifest.kind === 'index') return { kind: 'index', manifest };
    const classified = await classifyManifest(this.#repository, manifest, described, { signal });
    return { kind: 'image', manifest, classified };
  }
}
