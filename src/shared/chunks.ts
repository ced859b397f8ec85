import { isUtf8 } from 'node:buffer';
import type { Hash } from 'node:crypto';
import { writeSync } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import type { Readable, Writable } from 'node:stream';

/**
 * A chunk of a stream whose memory its producer reuses or frees: it is valid until the next chunk is requested.
 * It therefore is not a Buffer, and offers only what reads it at once. To keep its bytes, copy them with
 * {@link copyOf}. Any Buffer can be lent.
 */
export interface LentChunk {
  readonly length: number;
  readonly [index: number]: number;
  /** Copies bytes into the caller's memory, and returns how many. */
  copy(target: Uint8Array, targetStart?: number, sourceStart?: number, sourceEnd?: number): number;
  /** Returns the position of the first such byte, or -1. */
  indexOf(byte: number, from?: number): number;
  equals(other: Uint8Array): boolean;
  toString(encoding?: BufferEncoding, start?: number, end?: number): string;
  /** Returns a part, valid for as long as the chunk itself. */
  subarray(start?: number, end?: number): LentChunk;
}

/** A stream of bytes in chunks that are valid one at a time. */
export type LentChunks = AsyncIterable<LentChunk>;

/** Copies a chunk into memory that the caller may keep. */
export function copyOf(chunk: LentChunk): Buffer {
  return Buffer.from(bytesOf(chunk));
}

/** Copies chunks, back to back, into memory that the caller may keep. */
export function joinChunks(chunks: readonly LentChunk[]): Buffer {
  return Buffer.concat(chunks.map(bytesOf));
}

/** Adds a chunk to a hash. */
export function updateHash(hash: Hash, chunk: LentChunk): void {
  hash.update(bytesOf(chunk));
}

/** Tells whether a chunk is valid UTF-8. */
export function isUtf8Chunk(chunk: LentChunk): boolean {
  return isUtf8(bytesOf(chunk));
}

/** Writes a whole chunk at the file's current position. */
export async function writeChunk(file: FileHandle, chunk: LentChunk): Promise<void> {
  const bytes = bytesOf(chunk);
  for (let done = 0; done < bytes.length;) done += (await file.write(bytes, done)).bytesWritten;
}

/** Writes a whole chunk into a file at a position, without the thread pool. */
export function writeChunkSync(descriptor: number, chunk: LentChunk, position: number): void {
  const bytes = bytesOf(chunk);
  for (let done = 0; done < bytes.length;) {
    done += writeSync(descriptor, bytes, done, bytes.length - done, position + done);
  }
}

/** Writes a chunk into a stream that does not keep it once it has called `done`, such as a codec. */
export function feedChunk(stream: Writable, chunk: LentChunk, done: (error?: Error | null) => void): void {
  stream.write(bytesOf(chunk), done);
}

/**
 * Passes a stream to a function of Node or a library that has used each chunk before it requests the next, such
 * as `FileHandle.writeFile`.
 */
export function asBytes(source: LentChunks): AsyncIterable<Buffer> {
  return source as AsyncIterable<Buffer>;
}

/** Bytes of a stream that are read ahead of the consumer, so that what fills it keeps working. */
const defaultReadAhead = 256 * 1024;

/** Bytes of a chunk from which it is worth freeing. TLS delivers at most 16 KiB at a time. */
const worthFreeing = 8 * 1024;

/**
 * Yields the chunks of a stream as they are, lent, and frees each: the garbage collector would let tens of
 * megabytes pile up. Stopping early destroys the stream.
 */
export async function* lendChunks(stream: Readable): AsyncGenerator<LentChunk> {
  try {
    for await (const chunk of queuedChunks(stream)) {
      yield chunk;
      if (chunk.length >= worthFreeing) freeMemory(chunk);
    }
    if (!stream.readableEnded) throw new Error('the stream was closed before its end');
  } finally {
    stream.on('error', () => {}).destroy();
  }
}

/**
 * Yields the chunks of a stream as they are, until it ends or is closed: a stream's own iterator would copy to join
 * them. It leaves the stream open when it is stopped.
 * @param readAhead bytes that are read ahead of the consumer
 */
export async function* queuedChunks(stream: Readable, readAhead = defaultReadAhead): AsyncGenerator<Buffer> {
  const queue: Buffer[] = [];
  let queued = 0;
  let ended = false;
  let failure: { readonly error: unknown } | undefined = stream.errored
    ? { error: stream.errored }
    : undefined;
  let wake: (() => void) | undefined;
  const end = (): void => {
    ended = true;
    wake?.();
  };
  const add = (chunk: Buffer): void => {
    queue.push(chunk);
    queued += chunk.length;
    if (queued >= readAhead) stream.pause();
    wake?.();
  };
  stream
    .on('data', add)
    .on('error', (error) => {
      failure = { error };
      wake?.();
    })
    .on('end', end)
    .on('close', end);
  try {
    for (;;) {
      const chunk = queue.shift();
      if (chunk !== undefined) {
        queued -= chunk.length;
        if (queued < readAhead) stream.resume();
        yield chunk;
      } else if (failure !== undefined) {
        throw failure.error;
      } else if (ended) {
        return;
      } else {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
  } finally {
    // What still comes is for whoever reads on, not for the queue.
    stream.off('data', add);
  }
}

/** Yields what a function makes of a chunk's memory, which it must not keep. */
export function* withBytes<T>(chunk: LentChunk, use: (bytes: Uint8Array) => Iterable<T>): Generator<T> {
  yield* use(bytesOf(chunk));
}

/** The memory of a chunk. Private, so that nothing outside this file can keep it. */
function bytesOf(chunk: LentChunk): Buffer {
  return chunk as Buffer;
}

/** A part of a stream of bytes. */
export interface Piece {
  readonly bytes: Buffer;
  /** Whether this is the last piece. */
  readonly last: boolean;
  /** Returns the memory for use by a later piece. Call it once `bytes` is no longer in use. */
  readonly release: () => void;
}

/**
 * Cuts a stream into pieces of exactly `size` bytes, whatever its chunk boundaries. The last piece may be
 * shorter or empty, but there always is one.
 */
export async function* chunkPieces(source: LentChunks, size: number): AsyncGenerator<Piece> {
  const free: Buffer[] = [];
  const take = (): Buffer => free.pop() ?? Buffer.allocUnsafeSlow(size);
  let piece = take();
  let filled = 0;
  for await (const chunk of source) {
    let offset = 0;
    while (offset < chunk.length) {
      if (filled === size) {
        const full = piece;
        yield { bytes: full, last: false, release: () => void free.push(full) };
        piece = take();
        filled = 0;
      }
      const count = chunk.copy(piece, filled, offset);
      filled += count;
      offset += count;
    }
  }
  yield { bytes: piece.subarray(0, filled), last: true, release: () => {} };
}

/**
 * Frees a codec's output buffer at once: the garbage collector would let tens of megabytes pile up. A buffer
 * of another size is not the codec's own and is left alone.
 */
export function freeOutputBuffer(buffer: ArrayBufferLike | undefined, size: number): void {
  if (buffer instanceof ArrayBuffer && buffer.byteLength === size) buffer.transfer(0);
}

/**
 * Frees memory at once that nothing uses any more: the garbage collector would let tens of megabytes pile up. A slice of a
 * larger buffer is left alone.
 */
export function freeMemory(memory: Buffer): void {
  if (memory.length > 0) freeOutputBuffer(memory.buffer, memory.length);
}
