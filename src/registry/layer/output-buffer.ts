/**
 * Gives an output buffer of a codec back at once: the garbage collector would wait for tens of megabytes. A buffer of
 * another size is not the codec's own and is left alone.
 */
export function freeOutputBuffer(buffer: ArrayBufferLike | undefined, size: number): void {
  if (buffer instanceof ArrayBuffer && buffer.byteLength === size) buffer.transfer(0);
}
