import { Overlay } from '../../../registry/layer/overlay.ts';
import { expectBlob } from '../../../registry/layer/scan-in-thread.ts';
import type { Descriptor, Manifest } from '../../../registry/model/manifest.ts';
import type { TarEntryHeader } from '../../../registry/tar/entry.ts';
import type { FilePattern } from '../../model/patterns.ts';
import { Captures, type FileVisitor, type FoundFile } from './captures.ts';
import { largeLayer, LayerReader, type LayerVisitor, type ReadableImage } from './layer-reader.ts';
import type { ReadingRun } from './platform-images.ts';
import { readAhead, type Extent } from './read-ahead.ts';
import { createSelection, type Selection } from './selection.ts';

export interface ScanResult<T> {
  /** Sorted by path. */
  readonly files: readonly FoundFile<T>[];
  /** Patterns without a match. */
  readonly unmatched: readonly FilePattern[];
  /**
   * The files' directories; null for one without its own entry. A path that is a directory in only one of the
   * views is omitted. Empty unless requested.
   */
  readonly directories: ReadonlyMap<string, TarEntryHeader | null>;
  /** What containers see; undefined unless directories were requested and the views differ about a file. */
  readonly overlay: Overlay | undefined;
  readonly layersRead: number;
  /** Bytes of the blobs of the layers that were read. */
  readonly layerBytesRead: number;
  /** Layers whose contents were known from earlier runs, the topmost first. */
  readonly layersKnown: readonly Descriptor[];
  /** Layers below the deciding one, base first: nothing in them was checked, not even their diff IDs. */
  readonly layersNotRead: readonly Descriptor[];
}

/** A layer and its index in the image. */
interface PlacedLayer {
  readonly descriptor: Descriptor;
  readonly layer: number;
}

/**
 * Reads an image's layers from the top down until every requested path is decided, and returns the files that
 * a container would see there. Blobs are verified before anything is returned.
 * @throws RegistryError, SignerError
 */
export async function scanImage<T>(
  image: ReadableImage,
  visitor: FileVisitor<T>,
  run: ReadingRun,
): Promise<ScanResult<T>> {
  const { layers } = image.manifest;
  const selection = createSelection(run.patterns);
  const { search, lists } = selection;
  const overlay = new Overlay({
    layers: layers.length,
    early: search.kind === 'until-decided',
    signal: run.signal,
  });
  const captures = new Captures(visitor);
  const reader = new LayerReader(image, run);
  const readings = readAhead(topDown(layers), {
    extent: extentOf(selection),
    signal: run.signal,
    async read({ layer }, context) {
      const list = overlay.list(layer);
      const first = { ...context, list, layerStore: visitor.layerStore };
      await reader.readFirst(layer, layerVisitor(layer, selection, captures), first);
      return list;
    },
  });
  const passed: PlacedLayer[] = [];
  for await (const { item, result: list } of readings) {
    await overlay.addLayer(list);
    passed.push(item);
    const { digest } = item.descriptor;
    const known = reader.unread.has(item.layer);
    run.onProgress?.({ type: 'layer-read', digest, known, done: passed.length, total: layers.length });
    if (item.layer > 0 && search.kind === 'until-decided' && search.isDecided(overlay)) break;
  }
  // Lists and files reached through a link with another name were not captured on the way.
  if (lists !== undefined)
    await reader.readAgain(await lists.unread(overlay), (layer, entry) => lists.add(layer, entry));
  const { files, unmatched } = await selection.select(overlay);
  const missing = files.flatMap(({ file }) => (captures.has(file.entry) ? [] : [file]));
  await reader.readAgain(missing, (layer, entry) => captures.addFile(layer, entry), visitor.layerStore);
  const { includesDirectories } = captures;
  const read = passed.filter(({ layer }) => !reader.unread.has(layer));
  const known = passed.filter(({ layer }) => reader.unread.has(layer));
  return {
    files: files.map((selected) => captures.found(selected)),
    unmatched,
    directories: includesDirectories ? captures.directoriesOf(files, overlay) : new Map(),
    overlay:
      includesDirectories && files.some(({ file }) => file.differs !== undefined) ? overlay : undefined,
    layersRead: read.length,
    layerBytesRead: read.reduce((sum, { descriptor }) => sum + descriptor.size, 0),
    layersKnown: known.map(({ descriptor }) => descriptor),
    layersNotRead: layers.slice(0, layers.length - passed.length),
  };
}

/** Says that a manifest's image will be scanned soon, so that what takes a while to start is ready then. */
export function prepareScan(manifest: Manifest): void {
  const topLayer = manifest.kind === 'image' ? manifest.layers.at(-1) : undefined;
  if (topLayer !== undefined) expectBlob(topLayer.size);
}

function topDown(layers: readonly Descriptor[]): PlacedLayer[] {
  return layers.map((descriptor, layer) => ({ descriptor, layer })).toReversed();
}

function extentOf({ search }: Selection): Extent<PlacedLayer> {
  if (search.kind === 'all-layers') return { kind: 'all' };
  return {
    kind: 'until-decided',
    mayNeedMore: () => search.mayNeedMoreLayers(),
    isLikelyIrrelevant: ({ descriptor }) => descriptor.size >= largeLayer,
  };
}

/** Routes the entries of a layer to module lists or to captures. */
function layerVisitor<T>(layer: number, selection: Selection, captures: Captures<T>): LayerVisitor {
  const { lists } = selection;
  const isList = (path: string) => lists !== undefined && lists.matches(path);
  return {
    accepts: (path) => selection.mayMatch(path) || isList(path),
    filter: selection.filter,
    visitFile: (entry) =>
      lists !== undefined && isList(entry.path) ? lists.add(layer, entry) : captures.addFile(layer, entry),
    visitDirectory: captures.includesDirectories
      ? (header) => captures.addDirectory(layer, header)
      : undefined,
  };
}
