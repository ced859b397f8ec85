import type { ImageConfig } from '../../../registry/image/config.ts';
import { openLayer } from '../../../registry/image/repository.ts';
import type { EntryList } from '../../../registry/layer/entry-list.ts';
import { defaultLayerLimits } from '../../../registry/layer/layer-source.ts';
import type { OverlayFile } from '../../../registry/layer/overlay.ts';
import type { EntryFilter } from '../../../registry/layer/entry-filter.ts';
import { scanBlob } from '../../../registry/layer/scan-in-thread.ts';
import type { ImageManifest } from '../../../registry/model/manifest.ts';
import type { TarEntry, TarEntryHeader } from '../../../registry/tar/entry.ts';
import { lendChunks, type LentChunk, type LentChunks } from '../../../shared/chunks.ts';
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

/**
 * Receives the entries of a layer as it streams by. Contents are provisional until the layer has been read.
 */
export interface LayerVisitor {
  accepts(path: string): boolean;
  /** Selects at least what `accepts` does. */
  readonly filter: EntryFilter;
  visitFile(entry: TarEntry): Promise<void>;
  visitDirectory?: ((header: TarEntryHeader) => void) | undefined;
}

/** Options of a layer's first read, which records all of its entries. */
export interface FirstRead {
  readonly list: EntryList;
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

  constructor(image: ReadableImage, run: ReadingRun) {
    this.#image = image;
    this.#run = run;
  }

  /** Reads a layer to its end and verifies it. @throws RegistryError */
  async read(layer: number, visitor: LayerVisitor, first?: FirstRead): Promise<void> {
    const { manifest, config } = this.#image;
    const descriptor = manifest.layers[layer];
    if (descriptor === undefined) throw new RangeError(`no layer ${layer}`);
    const signal = first === undefined ? this.#run.signal : first.signal;
    const blob = await openLayer(this.#run.source.repository, descriptor, { signal });
    const source = first?.layerStore === undefined ? lendChunks(blob) : first.layerStore.tee(layer, blob);
    const reports = first !== undefined && descriptor.size >= largeLayer;
    await scanBlob({
      size: descriptor.size,
      filter: visitor.filter,
      source: reports ? reportHalfway(source, descriptor.size, first.onHalfway) : source,
      list: first?.list,
      limits: defaultLayerLimits,
      diffId: config.diffIds[layer],
      accepts: (path) => visitor.accepts(path),
      onFile: (entry) => visitor.visitFile(entry),
      onDirectory: visitor.visitDirectory,
    });
  }

  /** Reads the layers of files again, and passes on the files' entries. @throws RegistryError */
  async readAgain(
    files: readonly OverlayFile[],
    visit: (layer: number, entry: TarEntry) => Promise<void>,
  ): Promise<void> {
    for (const [layer, layerFiles] of Map.groupBy(files, ({ entry }) => entry.layer)) {
      const paths = new Set(layerFiles.map(({ entry }) => entry.path));
      const indexes = new Set(layerFiles.map(({ entry }) => entry.index));
      await this.read(layer, {
        accepts: (path) => paths.has(path),
        filter: { indexes },
        visitFile: async (entry) => {
          if (indexes.has(entry.index)) await visit(layer, entry);
        },
      });
    }
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
