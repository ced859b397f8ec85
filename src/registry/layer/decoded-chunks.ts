import type { Readable } from 'node:stream';

/** Bytes of one output buffer of a decoder: smaller ones cost a thread switch each, larger ones only memory. */
export const outputBufferSize = 256 * 1024;

/** Chunks that are decoded ahead of their consumer, so that decoding goes on in its thread meanwhile. */
const chunksAhead = 2;

/** The output of a decoder, chunk by chunk as it was made: a stream's own iterator joins them by copying. */
export async function* decodedChunks(decoder: Readable): AsyncGenerator<Buffer> {
  const queue: Buffer[] = [];
  let ended = false;
  let failure: { readonly error: unknown } | undefined;
  let wake: (() => void) | undefined;
  decoder
    .on('data', (chunk: Buffer) => {
      queue.push(chunk);
      if (queue.length >= chunksAhead) decoder.pause();
      wake?.();
    })
    .on('error', (error) => {
      failure = { error };
      wake?.();
    })
    .on('end', () => {
      ended = true;
      wake?.();
    })
    .on('close', () => {
      ended = true;
      wake?.();
    });
  for (;;) {
    const chunk = queue.shift();
    if (chunk !== undefined) {
      if (queue.length === 0) decoder.resume();
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
}

/**
 * Frees the output buffers of a decoder as soon as they are done with, instead of leaving them to the garbage
 * collector, which waits for tens of megabytes of them. Buffers whose chunks were kept are left alone.
 */
export class BufferRecycler {
  readonly #kept = new WeakSet<ArrayBufferLike>();
  #present: ArrayBufferLike | undefined;

  /** Somebody may still use this chunk after the next one has come. */
  keep(chunk: Buffer): void {
    this.#kept.add(chunk.buffer);
  }

  /** A chunk has come: nobody needs the one before it, and a decoder writes into one buffer after another. */
  next(chunk: Buffer): void {
    const previous = this.#present;
    if (previous === chunk.buffer) return;
    this.#present = chunk.buffer;
    const isOurs = previous instanceof ArrayBuffer && previous.byteLength === outputBufferSize;
    if (isOurs && !this.#kept.has(previous)) previous.transfer(0);
  }
}
