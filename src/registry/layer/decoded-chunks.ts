import type { Readable } from 'node:stream';
import { freeOutputBuffer } from './output-buffer.ts';

/** Bytes of one output buffer of a decoder: each costs two thread switches, and larger ones leave the cache. */
export const outputBufferSize = 512 * 1024;

/** Chunks that are decoded ahead of their consumer, so that decoding goes on in its thread meanwhile. */
const chunksAhead = 2;

/**
 * The output of a decoder, chunk by chunk as it was made: a stream's own iterator joins them by copying. A chunk is valid
 * until the next is asked for; its memory is freed then.
 */
export async function* decodedChunks(decoder: Readable): AsyncGenerator<Buffer> {
  const queue: Buffer[] = [];
  let ended = false;
  let failure: { readonly error: unknown } | undefined;
  let wake: (() => void) | undefined;
  let previous: ArrayBufferLike | undefined;
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
      // A decoder writes into one buffer after another.
      if (previous !== chunk.buffer) freeOutputBuffer(previous, outputBufferSize);
      previous = chunk.buffer;
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
