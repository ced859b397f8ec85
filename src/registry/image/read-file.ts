import type { EntryList } from '../layer/entry-list.ts';
import { defaultLayerLimits, type LayerLimits } from '../layer/layer-source.ts';
import { Overlay } from '../layer/overlay.ts';
import { scanLayer } from '../layer/scan-layer.ts';
import { RegistryError } from '../model/errors.ts';
import type { ImageManifest, Manifest } from '../model/manifest.ts';
import { choosePlatform, formatPlatform, isUnknownPlatform, type Platform } from '../model/platform.ts';
import type { Selector } from '../model/reference.ts';
import { copyContent, type TarEntry } from '../tar/entry.ts';
import { type ImageConfig, readImageConfig } from './config.ts';
import { openLayer, type ImageRepository } from './repository.ts';

/** The file to read, and its image. */
export interface ReadFileOptions {
  readonly repository: ImageRepository;
  readonly selector: Selector;
  /** Selects the image of an index. */
  readonly platform: Platform;
  /** Absolute. */
  readonly path: string;
  /** The largest size of the file, in bytes. */
  readonly maxFileSize: number;
  /** The most bytes of layers to read for it. */
  readonly maxLayerBytes: number;
  readonly limits?: LayerLimits | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Reads one small file of an image as a container with overlayfs would see it. Reads layers from the top
 * down, until no lower one can change the result.
 * @returns undefined if the file does not exist
 * @throws RegistryError LIMIT_EXCEEDED, NOT_FOUND, PLATFORM_NOT_FOUND and what reading layers throws
 */
export async function readFileOfImage(options: ReadFileOptions): Promise<Buffer | undefined> {
  const { repository, selector, path, signal } = options;
  const manifest = await imageOf(await repository.getManifest(selector, { signal }), options);
  const image = { manifest, config: await readImageConfig(repository, manifest, { signal }) };
  const { layers } = manifest;
  const relative = path.replaceAll(/^\/+/g, '');
  const overlay = new Overlay({ layers: layers.length, signal });
  const contents = new Map<number, Buffer>();
  let bytesRead = 0;
  for (let layer = layers.length - 1; layer >= 0; layer--) {
    bytesRead += layers[layer]?.size ?? 0;
    if (bytesRead > options.maxLayerBytes) throw tooLarge(options, 'layers', options.maxLayerBytes);
    const list = overlay.list(layer);
    const content = await readLayer(image, { layer, path: relative, list }, options);
    await overlay.addLayer(list);
    if (content !== undefined) contents.set(layer, content);
    const [found] = overlay.resolve(path);
    if (found.state === 'undecided') continue;
    if (found.state !== 'file') return undefined;
    const { entry } = found.file;
    if (entry.path === relative) return contents.get(entry.layer);
    // A link led to a different path.
    return readLayer(image, entry, options);
  }
  return undefined;
}

async function imageOf(
  manifest: Manifest,
  { repository, platform, signal }: ReadFileOptions,
): Promise<ImageManifest> {
  if (manifest.kind === 'image') return manifest;
  const named = manifest.manifests.filter(
    (one) => one.platform === undefined || !isUnknownPlatform(one.platform),
  );
  // If no child states a matching platform, the first without a platform may be the right one.
  const child =
    choosePlatform(named, (one) => one.platform, platform) ?? named.find((one) => one.platform === undefined);
  const image = child && (await repository.getManifest({ digest: child.digest }, { signal }));
  if (image?.kind === 'image') return image;
  throw new RegistryError({
    code: 'PLATFORM_NOT_FOUND',
    message: `${repository.name} has no image for ${formatPlatform(platform)}`,
    facts: { repository: repository.name },
  });
}

interface ReadImage {
  readonly manifest: ImageManifest;
  readonly config: ImageConfig;
}

interface FileInLayer {
  readonly layer: number;
  readonly path: string;
  readonly list?: EntryList;
}

/** Returns the content of a layer's last entry with a path. */
async function readLayer(
  { manifest, config }: ReadImage,
  { layer, path, list }: FileInLayer,
  options: ReadFileOptions,
): Promise<Buffer | undefined> {
  const { repository, limits = defaultLayerLimits, signal } = options;
  const descriptor = manifest.layers[layer];
  if (descriptor === undefined) throw new RangeError(`no layer ${layer}`);
  let content: Buffer | undefined;
  await scanLayer({
    source: await openLayer(repository, descriptor, { signal }),
    list,
    limits,
    diffId: config.diffIds[layer],
    accepts: (name) => name === path,
    onFile: async (entry: TarEntry) => {
      if (entry.size > options.maxFileSize) throw tooLarge(options, 'file', options.maxFileSize);
      content = await readContent(entry);
    },
  });
  return content;
}

async function readContent(entry: TarEntry): Promise<Buffer> {
  const content = Buffer.allocUnsafeSlow(entry.size);
  await copyContent(entry, content);
  return content;
}

function tooLarge(
  { repository, path }: ReadFileOptions,
  what: 'layers' | 'file',
  limit: number,
): RegistryError {
  const where = `${path} of ${repository.name}`;
  return new RegistryError({
    code: 'LIMIT_EXCEEDED',
    message:
      what === 'file'
        ? `The file ${where} has more than ${limit} bytes`
        : `More than ${limit} bytes of layers would have to be read for ${where}`,
    facts: { repository: repository.name, path },
  });
}
