import { createHash, type Hash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { finishDigest } from '../model/digest.ts';
import { compressLayer, type CompressionOptions } from './compress.ts';
import type { WrittenLayer } from './layer.ts';

/** What `writeLayer` takes. */
export interface WriteLayerOptions extends CompressionOptions {
  readonly tar: AsyncIterable<Buffer>;
  /** Where to write. The file is emptied first, and belongs to the caller. */
  readonly file: string;
  /** Sees every chunk of the blob once it was written; the chunk is valid until the promise is settled. */
  readonly onChunk?: ((chunk: Buffer) => Promise<void>) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A hash and the number of bytes that went into it. */
interface Tally {
  readonly hash: Hash;
  bytes: number;
}

/**
 * Compresses a tar into a local file and computes all that a manifest says of it, in one pass.
 * When anything fails, a full disk too, the file is empty again and the error is thrown as it came.
 */
export async function writeLayer({
  tar,
  file,
  onChunk,
  signal,
  ...options
}: WriteLayerOptions): Promise<WrittenLayer> {
  const raw: Tally = { hash: createHash('sha256'), bytes: 0 };
  const packed: Tally = options.compression === 'none' ? raw : { hash: createHash('sha256'), bytes: 0 };
  const handle = await open(file, 'w', 0o600);
  try {
    const compressed = compressLayer(tallied(tar, raw), options);
    for await (const chunk of packed === raw ? compressed : tallied(compressed, packed)) {
      signal?.throwIfAborted();
      for (let written = 0; written < chunk.length;) {
        written += (await handle.write(chunk, written)).bytesWritten;
      }
      await onChunk?.(chunk);
    }
  } catch (error) {
    await handle.truncate(0).catch(() => {});
    throw error;
  } finally {
    await handle.close();
  }
  const diffId = finishDigest(raw.hash);
  return {
    file,
    digest: packed === raw ? diffId : finishDigest(packed.hash),
    size: packed.bytes,
    diffId,
    uncompressedSize: raw.bytes,
  };
}

async function* tallied(source: AsyncIterable<Buffer>, tally: Tally): AsyncGenerator<Buffer> {
  for await (const chunk of source) {
    tally.hash.update(chunk);
    tally.bytes += chunk.length;
    yield chunk;
  }
}
