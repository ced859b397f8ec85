import pLimit from 'p-limit';
import { RegistryError } from '../../../registry/model/errors.ts';
import type { ImageRepository } from '../../../registry/image/repository.ts';
import { defaultLayerLimits, type LayerLimits } from '../../../registry/layer/layer-source.ts';
import type { EntryList } from '../../../registry/layer/entry-list.ts';
import { Overlay, type OverlayFile } from '../../../registry/layer/overlay.ts';
import { scanLayer } from '../../../registry/layer/scan-layer.ts';
import { defaultOverlayLimits } from '../../../registry/layer/step-budget.ts';
import type { ImageConfig } from '../../../registry/image/config.ts';
import { openLayer } from '../../../registry/image/read-blob.ts';
import type { Descriptor, ImageManifest } from '../../../registry/model/manifest.ts';
import type { TarEntry, TarEntryHeader } from '../../../registry/tar/entry.ts';
import type { FilePattern } from '../../model/patterns.ts';
import type { ProgressListener } from '../../model/report.ts';
import { DependencyLists } from './dependency-lists.ts';
import { KeptHeaders, plainHeader } from './kept-headers.ts';
import { readAhead } from './read-ahead.ts';
import { createSelection, type NamedFile, type SelectedFile } from './selection.ts';
import type { LayerStore } from './layer-store.ts';

/**
 * Bytes of a blob beside which the layer below may be read. Smaller ones are soon over, and often are those that hold
 * the modules: the layer below would be begun for nothing.
 */
const largeLayer = 16 * 1024 * 1024;

/** How to look through an image for files. */
export interface ScanOptions<T> {
  readonly repository: ImageRepository;
  readonly manifest: ImageManifest;
  /** Says what the layers must unpack to. */
  readonly config: Pick<ImageConfig, 'diffIds'>;
  /** null: every kernel module. */
  readonly patterns: readonly FilePattern[] | null;
  /**
   * Called for every file that may turn out to be asked for, while its layer streams by. The bytes are
   * provisional, and a container may not see the file: what it returns is used only once both are known.
   */
  readonly capture: (entry: TarEntry) => Promise<T>;
  /**
   * What is kept of headers: extended attributes of the files, or those of their directories, too, to put them into a
   * layer of their own. @default nothing but what is in header blocks
   */
  readonly keeps?: 'attributes' | 'attributes-and-directories' | undefined;
  /** Keeps a copy of each layer's blob for writing it anew. */
  readonly layerStore?: LayerStore | undefined;
  readonly limits?: LayerLimits | undefined;
  readonly onProgress?: ProgressListener | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A file that was asked for and that a container would see. */
export interface FoundFile<T> extends SelectedFile {
  readonly header: TarEntryHeader;
  /** Position of its layer in the manifest. */
  readonly layer: number;
  readonly captured: T;
}

export interface ScanResult<T> {
  /** Sorted by path. */
  readonly files: readonly FoundFile<T>[];
  /** Patterns that match nothing. */
  readonly unmatched: readonly FilePattern[];
  /** The directories of the files: null without an entry of their own. One is left out when it is a directory in one of the views only. Empty unless asked for. */
  readonly directories: ReadonlyMap<string, TarEntryHeader | null>;
  /** What containers see. undefined unless directories were asked for and the views differ about one of the files. */
  readonly overlay: Overlay | undefined;
  readonly layersRead: number;
  /** Bytes of the blobs of the layers that were read. */
  readonly layerBytesRead: number;
  /** Layers below the one that decided, base first: nothing was looked at of them, their diff IDs neither. */
  readonly layersNotRead: readonly Descriptor[];
}

interface Captured<T> {
  readonly header: TarEntryHeader;
  readonly value: T;
}

/**
 * Reads an image's layers from the top down until every asked-for path is decided, and gives the files
 * that a container would see there. Blobs are verified before anything is given back.
 * @throws RegistryError, SignerError
 */
export async function scanImage<T>(options: ScanOptions<T>): Promise<ScanResult<T>> {
  const { manifest, patterns, onProgress } = options;
  const selection = createSelection(patterns);
  const overlay = new Overlay({
    layers: manifest.layers.length,
    early: !selection.needsAllLayers,
    signal: options.signal,
  });
  const captures = new Map<string, Captured<T>>();
  const headers = new KeptHeaders();
  const lists = new DependencyLists();
  const directories = new Map<string, TarEntryHeader>();
  const keepsDirectories = options.keeps === 'attributes-and-directories';
  const keptHeader = (entry: TarEntry) =>
    options.keeps === undefined ? plainHeader(entry) : headers.keep(entry);
  let layersRead = 0;
  let layerBytesRead = 0;
  // Captures of two layers would get in each other's way in the memory that they use again and again.
  const oneAtATime = pLimit(1);
  const layers = manifest.layers.map((descriptor, layer) => ({ descriptor, layer })).toReversed();
  const readings = readAhead(layers, {
    read: async ({ layer }, { signal, onHalfway }) => {
      const list = overlay.list(layer);
      await readLayer({
        ...options,
        signal,
        layer,
        list,
        onHalfway,
        wants: (path) => selection.mayWant(path) || (selection.followsLists && lists.wants(path)),
        onFile: async (entry) => {
          if (selection.followsLists && lists.wants(entry.path)) return lists.add(layer, entry);
          if (captures.size >= defaultOverlayLimits.maxNames)
            throw tooManyFiles(defaultOverlayLimits.maxNames);
          const value = await oneAtATime(() => options.capture(entry));
          captures.set(key(layer, entry.index), { header: keptHeader(entry), value });
        },
        onDirectory: keepsDirectories
          ? (header) => directories.set(key(layer, header.index), headers.keep(header))
          : undefined,
      });
      return list;
    },
    needsAll: selection.needsAllLayers,
    seemsToNeedMore: () => selection.seemsToNeedMore(),
    isUnpromising: ({ descriptor }) => descriptor.size >= largeLayer,
    signal: options.signal,
  });
  for await (const { item, result: list } of readings) {
    const { descriptor, layer } = item;
    await overlay.addLayer(list);
    layersRead++;
    layerBytesRead += descriptor.size;
    onProgress?.({
      type: 'layer-read',
      digest: descriptor.digest,
      done: layersRead,
      total: manifest.layers.length,
    });
    if (layer > 0 && selection.isDecided(overlay)) break;
  }
  const listed = selection.followsLists ? await readListed(lists, overlay, options) : [];
  const { files, unmatched } = await selection.select(overlay, listed);
  await captureMissing({ ...options, files, captures, keptHeader });
  return {
    files: files.map((selected) => found(selected, captures)),
    unmatched,
    directories: keepsDirectories ? directoriesOf(files, overlay, directories) : new Map(),
    overlay: keepsDirectories && files.some(({ file }) => file.differs !== undefined) ? overlay : undefined,
    layersRead,
    layerBytesRead,
    layersNotRead: manifest.layers.slice(0, manifest.layers.length - layersRead),
  };
}

function tooManyFiles(maxFiles: number): RegistryError {
  return new RegistryError({
    code: 'LIMIT_EXCEEDED',
    message: `The image has more than ${maxFiles} files that may be kernel modules`,
    hint: 'Name the files that are meant with --file.',
    facts: { maxFiles },
  });
}

function key(layer: number, index: number): string {
  return `${layer}:${index}`;
}

function found<T>(selected: SelectedFile, captures: ReadonlyMap<string, Captured<T>>): FoundFile<T> {
  const { layer, index } = selected.file.entry;
  const captured = captures.get(key(layer, index));
  if (captured === undefined)
    throw new Error(`entry ${index} of layer ${layer} vanished between two readings`);
  return { ...selected, header: captured.header, layer, captured: captured.value };
}

interface ReadLayerOptions<T> extends ScanOptions<T> {
  readonly layer: number;
  readonly wants: (path: string) => boolean;
  readonly onFile: (entry: TarEntry) => Promise<void>;
  readonly list?: EntryList;
  readonly onDirectory?: ((header: TarEntryHeader) => void) | undefined;
  readonly onHalfway?: () => void;
}

async function readLayer<T>(options: ReadLayerOptions<T>): Promise<void> {
  const { repository, manifest, config, layer, layerStore, onHalfway, signal } = options;
  const descriptor = manifest.layers[layer];
  if (descriptor === undefined) throw new RangeError(`no layer ${layer}`);
  const blob = await openLayer(repository, descriptor, { signal });
  const kept = layerStore === undefined ? blob : layerStore.keep(layer, blob);
  const tells = onHalfway !== undefined && descriptor.size >= largeLayer;
  const source = tells ? noticingHalf(kept, descriptor.size, onHalfway) : kept;
  await scanLayer({
    source,
    list: options.list,
    limits: options.limits ?? defaultLayerLimits,
    diffId: config.diffIds[layer],
    wants: options.wants,
    onFile: options.onFile,
    onDirectory: options.onDirectory,
  });
}

/** The same bytes; calls back once, when half of them have passed. */
async function* noticingHalf(
  source: AsyncIterable<Buffer>,
  size: number,
  onHalfway: () => void,
): AsyncGenerator<Buffer> {
  let passed = 0;
  for await (const chunk of source) {
    const before = passed;
    passed += chunk.length;
    if (before * 2 < size && passed * 2 >= size) onHalfway();
    yield chunk;
  }
}

/** The files that lists of modules name; lists that are reached through a link of another name are read first. */
async function readListed<T>(
  lists: DependencyLists,
  overlay: Overlay,
  options: ScanOptions<T>,
): Promise<NamedFile[]> {
  await readAgain(await lists.unread(overlay), options, (layer, entry) => lists.add(layer, entry));
  return lists.namedFiles(overlay);
}

/** Files reached through a link of another name were not captured on the way: their layers are read once more. */
async function captureMissing<T>(
  options: ScanOptions<T> & {
    readonly files: readonly SelectedFile[];
    readonly captures: Map<string, Captured<T>>;
    readonly keptHeader: (entry: TarEntry) => TarEntryHeader;
  },
): Promise<void> {
  const { captures } = options;
  const missing = options.files.filter(({ file: { entry } }) => !captures.has(key(entry.layer, entry.index)));
  await readAgain(
    missing.map(({ file }) => file),
    options,
    async (layer, entry) => {
      const value = await options.capture(entry);
      captures.set(key(layer, entry.index), { header: options.keptHeader(entry), value });
    },
  );
}

/** Reads the layers of files once more, and hands on their entries. */
async function readAgain<T>(
  files: readonly OverlayFile[],
  options: ScanOptions<T>,
  onEntry: (layer: number, entry: TarEntry) => Promise<void>,
): Promise<void> {
  for (const [layer, wanted] of Map.groupBy(files, ({ entry }) => entry.layer)) {
    const paths = new Set(wanted.map(({ entry }) => entry.path));
    const indexes = new Set(wanted.map(({ entry }) => entry.index));
    await readLayer({
      ...options,
      layerStore: undefined,
      layer,
      wants: (path) => paths.has(path),
      onFile: async (entry) => {
        if (indexes.has(entry.index)) await onEntry(layer, entry);
      },
    });
  }
}

/** The directories of the names of files, with their headers, so that an appended layer can repeat them as they are. */
function directoriesOf(
  files: readonly SelectedFile[],
  overlay: Overlay,
  headers: ReadonlyMap<string, TarEntryHeader>,
): Map<string, TarEntryHeader | null> {
  const directories = new Map<string, TarEntryHeader | null>();
  for (const path of new Set(files.flatMap(({ file }) => file.names.flatMap(parentsOf)))) {
    const entry = overlay.directory(path);
    if (entry === undefined) continue;
    directories.set(path, entry === null ? null : (headers.get(key(entry.layer, entry.index)) ?? null));
  }
  return directories;
}

/** `/a/b/c` → `/a`, `/a/b` */
export function parentsOf(path: string): string[] {
  const names = path.split('/').slice(1, -1);
  return names.map((_, index) => `/${names.slice(0, index + 1).join('/')}`);
}
