import { createHash, type Hash } from 'node:crypto';
import { type LentChunk, type LentChunks, updateHash } from '../../shared/chunks.ts';
import { digestAlgorithm, digestHex, type Digest } from '../model/digest.ts';
import { RegistryError } from '../model/errors.ts';
import type { TarEntry, TarEntryHeader } from '../tar/entry.ts';
import { readTar } from '../tar/reader.ts';
import { decompressLayer } from './decompress.ts';
import type { ListedEntry } from './entry-list.ts';
import { defaultLayerLimits, type LayerLimits } from './layer-source.ts';
import type { LayerCompression } from '../model/media-types.ts';

/** Options of `scanLayer`. */
export interface ScanLayerOptions {
  /** The blob as stored. It is read to its end so that it can verify its digest; destroyed on error. */
  readonly source: LentChunks;
  /** Collects what the overlay needs of every entry. */
  readonly list?: { add(entry: ListedEntry): void } | undefined;
  readonly limits?: LayerLimits | undefined;
  /** Selects the files to pass to `onFile`. Default: none. */
  readonly accepts?: ((path: string) => boolean) | undefined;
  /**
   * Called for each accepted file, whose content may be read until the promise settles. The content is unverified
   * until the scan is done.
   */
  readonly onFile?: ((entry: TarEntry) => Promise<void> | void) | undefined;
  /** Called for each directory entry. */
  readonly onDirectory?: ((header: TarEntryHeader) => void) | undefined;
  /** The expected digest of the tar, from the image's configuration. Default: not checked. */
  readonly diffId?: Digest | undefined;
  /** Whether to inflate in this thread, which it keeps busy. @default false */
  readonly blocking?: boolean | undefined;
}

/** The result of a scan. */
export interface ScannedLayer {
  readonly compression: LayerCompression;
  readonly uncompressedSize: number;
}

/** Counters of a tar as it is read. */
interface Meter {
  bytes: number;
  readonly hash: Hash | undefined;
}

/**
 * Lists the entries of a layer if there is a list, and passes on the accepted files, in one pass over the blob.
 * @throws RegistryError INVALID_LAYER, also if the diff ID differs; LIMIT_EXCEEDED; an error of the source
 * (DIGEST_MISMATCH) takes precedence over INVALID_LAYER
 */
export async function scanLayer(options: ScanLayerOptions): Promise<ScannedLayer> {
  const { source, limits = defaultLayerLimits, diffId, blocking } = options;
  const { compression, tar } = await decompressLayer(source, { limits, blocking });
  const hash = diffId === undefined ? undefined : createHash(digestAlgorithm(diffId));
  const meter: Meter = { bytes: 0, hash };
  const metered = measure(tar, meter);
  try {
    await readEntries(readTar(withoutReturn(metered), limits), options);
    if (diffId !== undefined && hash?.digest('hex') !== digestHex(diffId)) throw otherContent(diffId);
    return { compression, uncompressedSize: meter.bytes };
  } catch (error) {
    if (isInvalidLayer(error)) await drain(metered);
    throw error;
  } finally {
    await metered.return(undefined);
  }
}

function otherContent(diffId: Digest): RegistryError {
  return new RegistryError({
    code: 'INVALID_LAYER',
    message: `The layer does not unpack to its diff ID ${diffId} in the image's configuration`,
    hint: 'No runtime unpacks such an image. Rebuild it.',
    facts: { diffId },
  });
}

async function readEntries(archive: AsyncIterable<TarEntry>, options: ScanLayerOptions): Promise<void> {
  const { list, accepts, onFile, onDirectory } = options;
  for await (const entry of archive) {
    list?.add(entry);
    if (entry.type === 'directory') onDirectory?.(entry);
    if (onFile !== undefined && entry.type === 'file' && accepts?.(entry.path) === true) await onFile(entry);
  }
}

async function* measure(tar: LentChunks, meter: Meter): AsyncGenerator<LentChunk> {
  for await (const chunk of tar) {
    meter.bytes += chunk.length;
    if (meter.hash !== undefined) updateHash(meter.hash, chunk);
    yield chunk;
  }
}

/** Returns the same bytes without forwarding `return`: the rest can still be read after the reader stops. */
function withoutReturn(source: AsyncIterator<LentChunk>): LentChunks {
  return { [Symbol.asyncIterator]: () => ({ next: () => source.next() }) };
}

/** Reads the rest of a damaged tar: a digest mismatch would be the better explanation. */
async function drain(tar: LentChunks): Promise<void> {
  try {
    for await (const chunk of tar) void chunk;
  } catch (error) {
    if (!isInvalidLayer(error) && !(error instanceof RegistryError && error.code === 'LIMIT_EXCEEDED'))
      throw error;
  }
}

function isInvalidLayer(error: unknown): boolean {
  return error instanceof RegistryError && error.code === 'INVALID_LAYER';
}
