import { createHash, type Hash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import type { Transform } from 'node:stream';
import { constants, crc32, createDeflateRaw, createZstdCompress } from 'node:zlib';
import { ignoreRejection } from '../../shared/abortable.ts';
import {
  chunkPieces,
  feedChunk,
  freeOutputBuffer,
  type LentChunk,
  type LentChunks,
  type Piece,
  updateHash,
  writeChunk,
} from '../../shared/chunks.ts';
import { finishDigest } from '../model/digest.ts';
import type { LayerCompression } from '../model/media-types.ts';
import type { WrittenLayer } from './layer-source.ts';

/** Options of `writeLayer`. */
export interface WriteLayerOptions extends CompressionOptions {
  readonly tar: LentChunks;
  /** The output file. It is truncated first, and belongs to the caller. */
  readonly file: string;
  /** Called for each chunk of the blob once it has been written; lent until the promise settles. */
  readonly onChunk?: ((chunk: LentChunk) => Promise<void>) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A hash and the number of bytes hashed. */
interface Tally {
  readonly hash: Hash;
  bytes: number;
}

/**
 * Compresses a tar into a local file and computes everything that a manifest says about it, in one pass. If
 * anything fails, including a full disk, the file is truncated again and the error is rethrown unchanged.
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
      await writeChunk(handle, chunk);
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

async function* tallied(source: LentChunks, tally: Tally): AsyncGenerator<LentChunk> {
  for await (const chunk of source) {
    updateHash(tally.hash, chunk);
    tally.bytes += chunk.length;
    yield chunk;
  }
}

/** How to compress a layer. */
export interface CompressionOptions {
  readonly compression: LayerCompression;
  /** gzip 1 to 9 (default 1), zstd 1 to 22 (default 3). */
  readonly level?: number | undefined;
}

const defaultLevels = { gzip: 1, zstd: 3 } as const;

/** Uncompressed bytes per task. Part of our output format: a different value produces different bytes. */
const pieceSize = 1024 * 1024;
const windowSize = 32 * 1024;
const deflateChunkSize = 512 * 1024;
const zstdChunkSize = 256 * 1024;

/**
 * Compresses a tar. gzip output is one member without name and time, its pieces compressed in parallel; the
 * bytes depend only on the input and the level, not on the number of processors or on timing.
 */
export function compressLayer(tar: LentChunks, options: CompressionOptions): LentChunks {
  switch (options.compression) {
    case 'none':
      return tar;
    case 'gzip':
      return gzip(tar, options.level ?? defaultLevels.gzip);
    case 'zstd':
      return zstd(tar, options.level ?? defaultLevels.zstd);
  }
}

async function* gzip(tar: LentChunks, level: number): AsyncGenerator<LentChunk> {
  // The header is emitted with the first piece: a consumer that stopped before it would leave the tar
  // unopened, and so never closed.
  const inFlight: Promise<Buffer[]>[] = [Promise.resolve([gzipHeader(level)])];
  let checksum = 0;
  let size = 0;
  let dictionary: Buffer | undefined;
  try {
    for await (const piece of chunkPieces(tar, pieceSize)) {
      checksum = crc32(piece.bytes, checksum);
      size += piece.bytes.length;
      const task = deflatePiece(piece, level, dictionary);
      // Awaited in its turn; until then, a failure must not count as unhandled.
      ignoreRejection(task);
      inFlight.push(task);
      // A copy: the piece's memory may be reused before the next piece arrives.
      dictionary = Buffer.from(piece.bytes.subarray(-windowSize));
      if (inFlight.length > availableParallelism()) yield* takeFirst(inFlight);
    }
    while (inFlight.length > 0) yield* takeFirst(inFlight);
  } finally {
    await Promise.allSettled(inFlight);
  }
  const trailer = Buffer.alloc(8);
  trailer.writeUInt32LE(checksum, 0);
  trailer.writeUInt32LE(size % 2 ** 32, 4);
  yield trailer;
}

/** Yields the compressed first piece, then frees it. */
async function* takeFirst(inFlight: Promise<Buffer[]>[]): AsyncGenerator<LentChunk> {
  const chunks = (await inFlight.shift()) ?? [];
  yield* chunks;
  // Several chunks may share one buffer.
  for (const { buffer } of chunks) freeOutputBuffer(buffer, deflateChunkSize);
}

/** Compresses a piece. The chunks are the encoder's own output buffers, which nothing else references. */
async function deflatePiece(
  { bytes, last, release }: Piece,
  level: number,
  dictionary: Buffer | undefined,
): Promise<Buffer[]> {
  const encoder = createDeflateRaw({
    level,
    chunkSize: deflateChunkSize,
    finishFlush: last ? constants.Z_FINISH : constants.Z_SYNC_FLUSH,
    ...(dictionary === undefined ? {} : { dictionary }),
  });
  const chunks: Buffer[] = [];
  await new Promise<void>((resolve, reject) => {
    encoder.on('data', (chunk: Buffer) => chunks.push(chunk));
    encoder.on('end', resolve).on('error', reject).end(bytes);
  });
  release();
  return chunks;
}

/** RFC 1952: no flags, no time, the operating system unknown. */
function gzipHeader(level: number): Buffer {
  const slowest = 2;
  const fastest = 4;
  const extraFlags = level === 9 ? slowest : level === 1 ? fastest : 0;
  return Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, extraFlags, 0xff]);
}

async function* zstd(tar: LentChunks, level: number): AsyncGenerator<LentChunk> {
  const encoder = createZstdCompress({
    chunkSize: zstdChunkSize,
    params: { [constants.ZSTD_c_compressionLevel]: level, [constants.ZSTD_c_checksumFlag]: 1 },
  });
  // An error of the tar destroys the encoder with that error, which the loop then throws.
  const feeding = feed(tar, encoder).catch((error: unknown) => {
    encoder.destroy(error instanceof Error ? error : new Error(String(error)));
  });
  try {
    for await (const chunk of encoder) yield chunk;
  } finally {
    encoder.destroy();
    await feeding;
  }
}

/** Writes a tar chunk by chunk; the next one is requested once the encoder is done with the previous one. */
async function feed(tar: LentChunks, encoder: Transform): Promise<void> {
  for await (const chunk of tar) {
    await new Promise<void>((resolve, reject) => {
      feedChunk(encoder, chunk, (error) => (error ? reject(error) : resolve()));
    });
  }
  encoder.end();
}
