import type { ImageConfig } from '../../../registry/image/config.ts';
import { openLayer } from '../../../registry/image/repository.ts';
import type { ListedEntry } from '../../../registry/layer/entry-list.ts';
import { defaultLayerLimits } from '../../../registry/layer/layer-source.ts';
import type { OverlayFile } from '../../../registry/layer/overlay.ts';
import type { EntryFilter } from '../../../registry/layer/entry-filter.ts';
import { scanBlob } from '../../../registry/layer/scan-in-thread.ts';
import type { Descriptor, ImageManifest } from '../../../registry/model/manifest.ts';
import type { TarEntry } from '../../../registry/tar/entry.ts';
import { lendChunks, type LentChunk, type LentChunks } from '../../../shared/chunks.ts';
import { type EntryVisitor, KnownLayers } from './known-layers.ts';
import type { LayerStore } from './layer-store.ts';
import type { ReadingRun } from './platform-images.ts';

/**
 * Minimum size in bytes of a blob during whose download the layer below may already be read. Smaller blobs
 * finish soon, and often hold the modules, so the layer below would be started in vain.
 */
export const largeLayer = 16 * 1024 * 1024;

/** An image whose layers are read, and the diff IDs they must unpack to. */
export interface ReadableImage {
  readonly manifest: ImageManifest;
  readonly config: Pick<ImageConfig, 'diffIds'>;
}

/** Receives the entries of a layer as it streams by. Contents are provisional until the layer has been read. */
export interface LayerVisitor extends EntryVisitor {
  /** Selects at least what `accepts` does. */
  readonly filter: EntryFilter;
}

/** Options of a layer's first read, which records all of its entries. */
export interface FirstRead {
  readonly list: { add(entry: ListedEntry): void };
  /** Receives a copy of the blob. */
  readonly layerStore: LayerStore | undefined;
  readonly signal: AbortSignal;
  /** Called when half of a large blob has been read. */
  readonly onHalfway: () => void;
}

/** Reads the layers of one image, regardless of what containers see. */
export class LayerReader {
  readonly #image: ReadableImage;
  readonly #run: ReadingRun;
  readonly #known: KnownLayers | undefined;
  /** Layers of which there is no copy, since their contents were known. */
  readonly #skipped = new Set<number>();
  /** Layers that have not been read, since their contents are known. */
  readonly unread = new Set<number>();

  constructor(image: ReadableImage, run: ReadingRun) {
    this.#image = image;
    this.#run = run;
    const { layerContents, source } = run;
    this.#known = layerContents === undefined ? undefined : new KnownLayers(layerContents, source.repository);
  }

  /**
   * Lists the entries of a layer, and passes on those that are wanted: as it is known, if no content of a file is
   * wanted, else by reading it. @throws RegistryError
   */
  async readFirst(layer: number, visitor: LayerVisitor, first: FirstRead): Promise<void> {
    const known = this.#known;
    if (known === undefined) return this.#read(layer, visitor, first);
    const placed = { descriptor: this.#descriptorOf(layer), diffId: this.#image.config.diffIds[layer] };
    const { list, signal } = first;
    if (await known.replay(placed, { visitor, list, signal })) {
      this.#skipped.add(layer);
      this.unread.add(layer);
      return;
    }
    const recording = known.record(placed, visitor, list);
    const recorded = { ...recording.visitor, filter: visitor.filter };
    await this.#read(layer, recorded, { ...first, list: recording.list });
    recording.keep();
  }

  /** Reads a layer to its end and verifies it. */
  async #read(layer: number, visitor: LayerVisitor, first: Partial<FirstRead>): Promise<void> {
    const descriptor = this.#descriptorOf(layer);
    const { signal = this.#run.signal, list, layerStore, onHalfway } = first;
    const blob = await openLayer(this.#run.source.repository, descriptor, { signal });
    const source = layerStore === undefined ? lendChunks(blob) : layerStore.tee(layer, blob);
    const reports = onHalfway !== undefined && descriptor.size >= largeLayer;
    await scanBlob({
      size: descriptor.size,
      filter: visitor.filter,
      source: reports ? reportHalfway(source, descriptor.size, onHalfway) : source,
      list,
      limits: defaultLayerLimits,
      diffId: this.#image.config.diffIds[layer],
      accepts: (path) => visitor.accepts(path),
      onFile: (entry) => visitor.visitFile(entry),
      onDirectory: visitor.visitDirectory,
    });
  }

  /**
   * Reads the layers of files again, and passes on the files' entries. @throws RegistryError
   * @param layerStore receives copies of the blobs of layers that were not read before
   */
  async readAgain(
    files: readonly OverlayFile[],
    visit: (layer: number, entry: TarEntry) => Promise<void>,
    layerStore?: LayerStore,
  ): Promise<void> {
    for (const [layer, layerFiles] of Map.groupBy(files, ({ entry }) => entry.layer)) {
      const paths = new Set(layerFiles.map(({ entry }) => entry.path));
      const indexes = new Set(layerFiles.map(({ entry }) => entry.index));
      const visitor: LayerVisitor = {
        accepts: (path) => paths.has(path),
        filter: { indexes },
        visitFile: async (entry) => {
          if (indexes.has(entry.index)) await visit(layer, entry);
        },
      };
      this.unread.delete(layer);
      await this.#read(layer, visitor, this.#skipped.has(layer) ? { layerStore } : {});
    }
  }

  #descriptorOf(layer: number): Descriptor {
    const descriptor = this.#image.manifest.layers[layer];
    if (descriptor === undefined) throw new RangeError(`no layer ${layer}`);
    return descriptor;
  }
}

/** Yields the same bytes, and calls `onHalfway` once half of them have passed. */
async function* reportHalfway(
  source: LentChunks,
  size: number,
  onHalfway: () => void,
): AsyncGenerator<LentChunk> {
  let passed = 0;
  for await (const chunk of source) {
    const before = passed;
    passed += chunk.length;
    if (before * 2 < size && passed * 2 >= size) onHalfway();
    yield chunk;
  }
}
