/** Bytes that can be read at any position: a Buffer, or a range of a file for large modules. */
export interface ByteSource {
  /** Bytes. */
  readonly size: number;
  /** Reads `length` bytes at `position`; fewer only past the end. */
  read(position: number, length: number): Promise<Buffer>;
  /** Streams a range, by default everything. A chunk is valid until the next one is asked for. */
  stream(start?: number, end?: number): AsyncIterable<Buffer>;
}

const chunkSize = 1024 * 1024;

/** Bytes in memory. */
export function bufferSource(bytes: Buffer): ByteSource {
  return {
    size: bytes.length,
    read: (position, length) => Promise.resolve(bytes.subarray(position, position + length)),
    async *stream(start = 0, end = bytes.length) {
      for (let at = start; at < end; at += chunkSize) yield bytes.subarray(at, Math.min(at + chunkSize, end));
    },
  };
}
