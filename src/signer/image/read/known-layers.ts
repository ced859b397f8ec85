import type { ImageRepository } from '../../../registry/image/repository.ts';
import type { ContentsStore } from '../../../registry/layer/contents-memory.ts';
import type { ListedEntry } from '../../../registry/layer/entry-list.ts';
import { ContentsRecorder } from '../../../registry/layer/layer-contents.ts';
import { whiteoutPrefix } from '../../../registry/layer/path-table.ts';
import type { Digest } from '../../../registry/model/digest.ts';
import type { Descriptor } from '../../../registry/model/manifest.ts';
import type { TarEntry, TarEntryHeader } from '../../../registry/tar/entry.ts';

/** Receives the entries of a layer. */
export interface EntryVisitor {
  accepts(path: string): boolean;
  /** Called for each accepted file. */
  visitFile(entry: TarEntry): Promise<void>;
  visitDirectory?: ((header: TarEntryHeader) => void) | undefined;
}

/** Receives every entry of a layer. */
interface EntryTarget {
  add(entry: ListedEntry): void;
}

/** A layer of an image, and what it must unpack to. */
interface PlacedLayer {
  readonly descriptor: Descriptor;
  readonly diffId: Digest | undefined;
}

/** A reading of a layer that is being recorded. */
interface Recording {
  readonly visitor: EntryVisitor;
  readonly list: EntryTarget;
  /** Keeps what was recorded, once the layer has been read and verified. */
  keep(): void;
}

/** Layers whose contents are known, so that they need not be read unless the bytes of a file are wanted. */
export class KnownLayers {
  readonly #cache: ContentsStore;
  readonly #repository: Pick<ImageRepository, 'hasBlob'>;

  constructor(cache: ContentsStore, repository: Pick<ImageRepository, 'hasBlob'>) {
    this.#cache = cache;
    this.#repository = repository;
  }

  /**
   * Passes on what a layer contains, if that is known, no file of it is accepted, and the repository has it, as
   * reading it would show. Returns whether it did. @throws RegistryError as `list` and `visitor` do
   */
  async replay(
    { descriptor, diffId }: PlacedLayer,
    { visitor, list, signal }: { visitor: EntryVisitor; list: EntryTarget; signal: AbortSignal },
  ): Promise<boolean> {
    if (diffId === undefined) return false;
    const contents = await this.#cache.find({ digest: descriptor.digest, size: descriptor.size, diffId });
    if (contents === undefined) return false;
    const { entries, directories } = contents;
    if (entries.some(({ type, path }) => type === 'file' && isContentWanted(path, visitor))) return false;
    // Reading the layer will show what is wrong.
    if (!(await this.#repository.hasBlob(descriptor, { signal }).catch(() => false))) return false;
    for (const entry of entries) list.add(entry);
    for (const header of directories) visitor.visitDirectory?.(header);
    return true;
  }

  /** Records what a layer contains while it is read, unless a file is accepted: then it will be read again anyway. */
  record({ descriptor, diffId }: PlacedLayer, visitor: EntryVisitor, list: EntryTarget): Recording {
    const recorder = new ContentsRecorder();
    let isWanted = false;
    return {
      visitor: {
        accepts: (path) => visitor.accepts(path),
        visitFile(entry) {
          isWanted ||= isContentWanted(entry.path, visitor);
          return visitor.visitFile(entry);
        },
        visitDirectory(header) {
          recorder.addDirectory(header);
          visitor.visitDirectory?.(header);
        },
      },
      list: {
        add(entry) {
          recorder.add(entry);
          list.add(entry);
        },
      },
      keep: () => {
        if (isWanted || diffId === undefined) return;
        this.#cache.store({ digest: descriptor.digest, size: descriptor.size, diffId }, recorder);
      },
    };
  }
}

/** A whiteout is a file without content, and has the name of what it hides. */
function isContentWanted(path: string, visitor: EntryVisitor): boolean {
  return !path.startsWith(whiteoutPrefix, path.lastIndexOf('/') + 1) && visitor.accepts(path);
}
