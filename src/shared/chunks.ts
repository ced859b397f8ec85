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
export async function* chunkPieces(source: AsyncIterable<Buffer>, size: number): AsyncGenerator<Piece> {
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
