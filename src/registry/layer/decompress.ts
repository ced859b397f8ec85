import type { Transform } from 'node:stream';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { RegistryError } from '../errors.ts';
import { decodedChunks, outputBufferSize } from './decoded-chunks.ts';
import { LayerSource } from './layer-source.ts';
import type { LayerCompression, LayerLimits } from './layer.ts';

const magicLength = 4;
const gzipMagic = 0x1f8b08;
const zstdMagic = 0xfd2fb528;
const zstdSkippableMagic = 0x184d2a50;

/** Tells a layer's compression by its first four bytes. */
export function detectCompression(firstBytes: Buffer): LayerCompression {
  if (firstBytes.length >= 3 && firstBytes.readUIntBE(0, 3) === gzipMagic) return 'gzip';
  if (firstBytes.length < magicLength) return 'none';
  const magic = firstBytes.readUInt32LE(0);
  const isZstd = magic === zstdMagic || (magic & 0xfffffff0) >>> 0 === zstdSkippableMagic;
  return isZstd ? 'zstd' : 'none';
}

/** A layer whose compression is known. */
export interface DecompressedLayer {
  readonly compression: LayerCompression;
  /**
   * The tar, to be read once; a chunk is valid until the next is asked for. Read to its end, it has read the source to its end; left early, it destroys the source.
   * When the source fails, that error comes out, also where its damage broke the decompression first.
   */
  readonly tar: AsyncIterable<Buffer>;
}

/**
 * Unpacks a layer: gzip (all members), zstd (all frames) or nothing, by its first bytes.
 * Other data after the compressed is an error, as in Go.
 * @throws RegistryError INVALID_LAYER, LIMIT_EXCEEDED from `tar`
 */
export async function decompressLayer(
  source: AsyncIterable<Buffer>,
  { limits }: { readonly limits: Pick<LayerLimits, 'maxUncompressedBytes'> },
): Promise<DecompressedLayer> {
  const compressed = new LayerSource(source);
  const compression = detectCompression(await compressed.peek(magicLength));
  const tar = compression === 'none' ? passThrough(compressed) : unpack(compressed, compression);
  return { compression, tar: limitBytes(tar, limits.maxUncompressedBytes) };
}

async function* limitBytes(tar: AsyncIterable<Buffer>, limit: number): AsyncGenerator<Buffer> {
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

async function* passThrough(source: LayerSource): AsyncGenerator<Buffer> {
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

async function* unpack(source: LayerSource, compression: 'gzip' | 'zstd'): AsyncGenerator<Buffer> {
  const options = { chunkSize: outputBufferSize, readableHighWaterMark: outputBufferSize };
  const decoder = compression === 'gzip' ? createGunzip(options) : createZstdDecompress(options);
  const feeding = feed(decoder, source);
  try {
    yield* decodedChunks(decoder);
    await feeding;
    // Zeros after the last member end Node's decoder without an error.
    if (decoder.bytesWritten < source.bytes || (await source.drain())) throw followedByOtherData(compression);
  } catch (error) {
    await feeding;
    // What the source tells of itself (another digest) is the better answer.
    await source.drain();
    throw error instanceof RegistryError ? error : damaged(compression);
  } finally {
    decoder.destroy();
    await source.cancel();
    await feeding;
  }
}

/**
 * Writes the source into the decoder, asking for a chunk when the one before it is used up. Ends when either does, and
 * never throws: the source keeps its failure.
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
        decoder.write(chunk, () => resolve());
      });
      if (decoder.destroyed) return;
    }
    decoder.end();
  } catch (error) {
    decoder.destroy(error instanceof Error ? error : undefined);
  }
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
    message: `The layer's ${compression} data is followed by something else`,
    facts: { compression },
  });
}
