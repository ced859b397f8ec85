import { readSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import type { LentChunk, LentChunks } from './chunks.ts';

/** Bytes that can be read at any position: a Buffer, or a range of a file for large modules. */
export interface ByteSource {
  /** Bytes. */
  readonly size: number;
  /** Reads `length` bytes at `position`; fewer only at the end of the source. */
  read(position: number, length: number): Promise<Buffer>;
  /** Fills `memory`, starting at `position`. @throws RangeError if the source ends before it is full */
  readInto(memory: Buffer, position: number): Promise<void>;
  /** Streams a range, by default everything. */
  stream(start?: number, end?: number): LentChunks;
}

/** @throws RangeError */
function checkFilled(count: number, memory: Buffer): void {
  if (count < memory.length) throw new RangeError('the source ends before the memory is full');
}

/** Size of a stream's chunks, in bytes. */
const chunkSize = 1024 * 1024;

/** Bytes in memory. */
export function bufferSource(bytes: Buffer): ByteSource {
  return {
    size: bytes.length,
    read: (position, length) => Promise.resolve(bytes.subarray(position, position + length)),
    readInto: (memory, position) =>
      Promise.resolve().then(() => checkFilled(bytes.copy(memory, 0, position), memory)),
    async *stream(start = 0, end = bytes.length) {
      for (let at = start; at < end; at += chunkSize) yield bytes.subarray(at, Math.min(at + chunkSize, end));
    },
  };
}

/** A range of a file. Disposing closes the file if the source opened it. */
export interface FileSource extends ByteSource, AsyncDisposable {}

/** Reads a range of a file, by default all of it. A handle passed in still belongs to the caller. */
export async function fileSource(
  file: string | FileHandle,
  range: { readonly start?: number; readonly size?: number } = {},
): Promise<FileSource> {
  const handle = typeof file === 'string' ? await open(file, 'r') : file;
  const start = range.start ?? 0;
  const size = range.size ?? (await handle.stat()).size - start;
  return {
    size,
    read: (position, length) => readRange(handle, start + position, Math.min(length, size - position)),
    readInto: async (memory, position) => checkFilled(await fill(handle, memory, start + position), memory),
    async *stream(from = 0, to = size) {
      const end = Math.min(to, size);
      const memory = Buffer.allocUnsafeSlow(Math.max(0, Math.min(chunkSize, end - from)));
      try {
        // Not in the thread pool: the data has mostly just been written, and comes out of the page cache
        // faster than a thread wakes up.
        for (let at = from; at < end;) {
          const bytesRead = readSync(handle.fd, memory, 0, Math.min(chunkSize, end - at), start + at);
          if (bytesRead === 0) return;
          yield memory.subarray(0, bytesRead);
          at += bytesRead;
        }
      } finally {
        // Freed explicitly: the garbage collector would let tens of megabytes pile up.
        memory.buffer.transfer(0);
      }
    },
    async [Symbol.asyncDispose]() {
      if (typeof file === 'string') await handle.close();
    },
  };
}

/** Streams a whole file from its start. The handle still belongs to the caller. */
export async function* fileContent(handle: FileHandle): AsyncGenerator<LentChunk> {
  yield* (await fileSource(handle)).stream();
}

async function readRange(handle: FileHandle, position: number, length: number): Promise<Buffer> {
  if (length <= 0) return Buffer.alloc(0);
  const buffer = Buffer.allocUnsafe(length);
  return buffer.subarray(0, await fill(handle, buffer, position));
}

async function fill(handle: FileHandle, memory: Buffer, position: number): Promise<number> {
  let filled = 0;
  while (filled < memory.length) {
    const { bytesRead } = await handle.read(memory, filled, memory.length - filled, position + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return filled;
}

/** A range of another source. */
export function sliceSource(source: ByteSource, start: number, size: number): ByteSource {
  return {
    size,
    read: (position, length) => source.read(start + position, Math.max(0, Math.min(length, size - position))),
    readInto: (memory, position) => source.readInto(memory, start + position),
    stream: (from = 0, to = size) => source.stream(start + from, start + Math.min(to, size)),
  };
}
