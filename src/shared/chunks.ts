/** A part of a stream of bytes. */
export interface Piece {
  readonly bytes: Buffer;
  /** Nothing comes after it. */
  readonly last: boolean;
  /** Returns the memory back for a later piece. To be called when nobody looks at `bytes` any more. */
  readonly release: () => void;
}

/** Cuts a stream into pieces of exactly `size` bytes, the last one shorter, wherever its chunks end. There is always a last piece, perhaps empty. */
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
 * Returns an output buffer of a codec back at once: the garbage collector would wait for tens of megabytes. A buffer of
 * another size is not the codec's own and is left alone.
 */
export function freeOutputBuffer(buffer: ArrayBufferLike | undefined, size: number): void {
  if (buffer instanceof ArrayBuffer && buffer.byteLength === size) buffer.transfer(0);
}
