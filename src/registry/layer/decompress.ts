import type { Readable, Transform } from 'node:stream';
import { constants, createGunzip, createZstdDecompress } from 'node:zlib';
import {
  feedChunk,
  freeOutputBuffer,
  type LentChunk,
  type LentChunks,
  queuedChunks,
  withBytes,
} from '../../shared/chunks.ts';
import { RegistryError } from '../model/errors.ts';
import type { LayerCompression } from '../model/media-types.ts';
import { Inflater } from './inflate.ts';
import { type LayerLimits, LayerSource } from './layer-source.ts';

/** Bytes needed to detect a layer's compression. */
const magicLength = 10;
const gzipMagic = 0x1f8b08;
const zstdMagic = 0xfd2fb528;
const zstdSkippableMagic = 0x184d2a50;
const zstdMagicLength = 4;
/** Bytes of history (window) that a frame may require the decoder to keep. */
const maxZstdWindow = 128 * 1024 ** 2;
/** Formats that some tools can write but containerd cannot read. */
const unsupportedFormats = [
  { name: 'xz', magic: Buffer.from('fd377a585a00', 'hex') },
  ...Array.from('123456789').flatMap((level) => [
    { name: 'bzip2', magic: Buffer.from(`BZh${level}1AY&SY`) },
    // Empty content: only the end-of-stream marker.
    { name: 'bzip2', magic: Buffer.concat([Buffer.from(`BZh${level}`), Buffer.from('177245385090', 'hex')]) },
  ]),
];

/** Detects a layer's compression from its first bytes. */
export function detectCompression(firstBytes: Buffer): LayerCompression {
  if (firstBytes.length >= 3 && firstBytes.readUIntBE(0, 3) === gzipMagic) return 'gzip';
  if (firstBytes.length < zstdMagicLength) return 'none';
  const magic = firstBytes.readUInt32LE(0);
  const isZstd = magic === zstdMagic || (magic & 0xfffffff0) >>> 0 === zstdSkippableMagic;
  return isZstd ? 'zstd' : 'none';
}

/** A layer whose compression is known. */
export interface DecompressedLayer {
  readonly compression: LayerCompression;
  /**
   * The tar, which can be read once. Reading it to the end also reads the source to its end; stopping early
   * destroys the source. If the source fails, its error is thrown, even if the damage broke the decompression
   * first.
   */
  readonly tar: LentChunks;
}

/** Options of `decompressLayer`. */
export interface DecompressOptions {
  readonly limits: Pick<LayerLimits, 'maxUncompressedBytes'>;
  /** Whether to inflate in this thread, which it keeps busy. @default false: in threads of Node's pool */
  readonly blocking?: boolean | undefined;
}

/**
 * Decompresses a layer: gzip (all members), zstd (all frames) or uncompressed, as detected from its first
 * bytes. Trailing data after the compressed data is an error, as in Go.
 * @throws RegistryError UNSUPPORTED_MEDIA_TYPE for xz and bzip2; INVALID_LAYER, LIMIT_EXCEEDED from `tar`
 */
export async function decompressLayer(
  source: LentChunks,
  { limits, blocking = false }: DecompressOptions,
): Promise<DecompressedLayer> {
  const compressed = new LayerSource(source);
  const firstBytes = await compressed.peek(magicLength);
  const unsupported = unsupportedFormats.find(({ magic }) =>
    firstBytes.subarray(0, magic.length).equals(magic),
  );
  if (unsupported !== undefined) {
    // The source's own error (a digest mismatch) explains more.
    await compressed.drain();
    throw notSupported(unsupported.name);
  }
  const compression = detectCompression(firstBytes);
  const inflater = compression === 'gzip' && blocking ? Inflater.create() : undefined;
  const tar =
    inflater !== undefined
      ? inflate(compressed, inflater)
      : compression === 'none'
        ? passThrough(compressed)
        : unpack(compressed, compression);
  return { compression, tar: limitBytes(tar, limits.maxUncompressedBytes) };
}

async function* limitBytes(tar: LentChunks, limit: number): AsyncGenerator<LentChunk> {
  let total = 0;
  for await (const chunk of tar) {
    total += chunk.length;
    if (total > limit) {
      throw new RegistryError({
        code: 'LIMIT_EXCEEDED',
        message: `The layer unpacks to more than ${limit} bytes`,
        facts: { maxUncompressedBytes: limit },
      });
    }
    yield chunk;
  }
}

async function* passThrough(source: LayerSource): AsyncGenerator<LentChunk> {
  try {
    for (;;) {
      const chunk = await source.next();
      if (chunk === undefined) break;
      yield chunk;
    }
  } finally {
    await source.cancel();
  }
}

async function* inflate(source: LayerSource, inflater: Inflater): AsyncGenerator<LentChunk> {
  try {
    while (inflater.problem === undefined) {
      const chunk = await source.next();
      if (chunk === undefined) break;
      yield* withBytes(chunk, (bytes) => inflater.inflate(bytes));
    }
    yield* inflater.end();
    if (inflater.problem === undefined) return;
    // The source's own error (a digest mismatch) explains more.
    await source.drain();
    throw inflater.problem === 'damaged' ? damaged('gzip') : followedByOtherData('gzip');
  } finally {
    inflater.close();
    await source.cancel();
  }
}

async function* unpack(source: LayerSource, compression: 'gzip' | 'zstd'): AsyncGenerator<LentChunk> {
  const options = { chunkSize: outputBufferSize, readableHighWaterMark: outputBufferSize };
  const decoder =
    compression === 'gzip'
      ? createGunzip(options)
      : createZstdDecompress({
          ...options,
          params: { [constants.ZSTD_d_windowLogMax]: Math.log2(maxZstdWindow) },
        });
  const feeding = feed(decoder, source);
  try {
    yield* decodedChunks(decoder);
    await feeding;
    // Node's decoder ignores trailing zeros after the last member.
    if (decoder.bytesWritten < source.bytes || (await source.drain())) throw followedByOtherData(compression);
  } catch (error) {
    await feeding;
    // The source's own error (a digest mismatch) explains more.
    await source.drain();
    if (error instanceof RegistryError) throw error;
    throw isWindowTooLarge(error) ? windowTooLarge() : damaged(compression);
  } finally {
    decoder.destroy();
    await source.cancel();
    await feeding;
  }
}

/**
 * Writes the source into the decoder, requesting a chunk once the previous one has been consumed. Ends when
 * either of them does, and never throws: the source keeps its failure.
 */
async function feed(decoder: Transform, source: LayerSource): Promise<void> {
  let wake: (() => void) | undefined;
  decoder.on('close', () => wake?.());
  try {
    for (;;) {
      const chunk = await source.next();
      if (decoder.destroyed) return;
      if (chunk === undefined) break;
      await new Promise<void>((resolve) => {
        wake = resolve;
        feedChunk(decoder, chunk, () => resolve());
      });
      if (decoder.destroyed) return;
    }
    decoder.end();
  } catch (error) {
    decoder.destroy(error instanceof Error ? error : undefined);
  }
}

function isWindowTooLarge(error: unknown): boolean {
  return (
    error instanceof Error && 'code' in error && error.code === 'ZSTD_error_frameParameter_windowTooLarge'
  );
}

/**
 * The error for exceeding the decoder's window limit, which bounds memory (RFC 8878 requires at least 8 MiB).
 */
function windowTooLarge(): RegistryError {
  return new RegistryError({
    code: 'LIMIT_EXCEEDED',
    message: `The layer's zstd data needs a window of more than ${maxZstdWindow / 1024 ** 2} MiB`,
    hint: 'Compress the layer without --ultra and --long, or with gzip.',
    facts: { compression: 'zstd', maxWindowBytes: maxZstdWindow },
  });
}

function notSupported(compression: string): RegistryError {
  return new RegistryError({
    code: 'UNSUPPORTED_MEDIA_TYPE',
    message: `The layer is compressed with ${compression}, which is not supported`,
    hint: 'Compress it with gzip or zstd: for example with skopeo copy --dest-compress-format gzip.',
    facts: { compression },
  });
}

function damaged(compression: LayerCompression): RegistryError {
  return new RegistryError({
    code: 'INVALID_LAYER',
    message: `The layer's ${compression} data is damaged or cut short`,
    facts: { compression },
  });
}

function followedByOtherData(compression: LayerCompression): RegistryError {
  return new RegistryError({
    code: 'INVALID_LAYER',
    message: `The layer's ${compression} data is followed by other data`,
    facts: { compression },
  });
}

/**
 * Size of a decoder's output buffer, in bytes: each costs two thread switches, and larger ones do not fit in
 * the cache.
 */
const outputBufferSize = 512 * 1024;

/** Yields a decoder's output chunks, and frees them: a decoder fills its buffers one after another. */
async function* decodedChunks(decoder: Readable): AsyncGenerator<LentChunk> {
  let previous: ArrayBufferLike | undefined;
  for await (const chunk of queuedChunks(decoder)) {
    if (previous !== chunk.buffer) freeOutputBuffer(previous, outputBufferSize);
    previous = chunk.buffer;
    yield chunk;
  }
}
