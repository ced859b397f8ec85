/** Bytes that can be read at any position: a Buffer, or a range of a file for large modules. */
export interface ByteSource {
  /** Bytes. */
  readonly size: number;
  /** Reads `length` bytes at `position`; fewer only past the end. */
  read(position: number, length: number): Promise<Buffer>;
  /** Fills `memory` from `position` on. @throws RangeError when the source ends before it is full */
  readInto(memory: Buffer, position: number): Promise<void>;
  /** Streams a range, by default everything. A chunk is valid until the next one is asked for. */
  stream(start?: number, end?: number): AsyncIterable<Buffer>;
}

/** @throws RangeError */
export function checkFilled(count: number, memory: Buffer): void {
  if (count < memory.length) throw new RangeError('the source ends before the memory is full');
}

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
