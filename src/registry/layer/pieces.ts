/** A part of a stream of bytes. */
export interface Piece {
  readonly bytes: Buffer;
  /** Nothing comes after it. */
  readonly last: boolean;
}

/** Cuts a stream into pieces of exactly `size` bytes, the last one shorter, wherever its chunks end. There is always a last piece, perhaps empty. */
export async function* chunkPieces(source: AsyncIterable<Buffer>, size: number): AsyncGenerator<Piece> {
  let piece = Buffer.allocUnsafeSlow(size);
  let filled = 0;
  for await (const chunk of source) {
    let offset = 0;
    while (offset < chunk.length) {
      if (filled === size) {
        yield { bytes: piece, last: false };
        piece = Buffer.allocUnsafeSlow(size);
        filled = 0;
      }
      const count = chunk.copy(piece, filled, offset);
      filled += count;
      offset += count;
    }
  }
  yield { bytes: piece.subarray(0, filled), last: true };
}
