import { constants, createGunzip, type Gunzip } from 'node:zlib';
import type { LentChunk } from '../../shared/chunks.ts';

/** Bytes that one call inflates at most; a larger buffer would not fit in the cache. */
const outputSize = 512 * 1024;

/** Why inflating failed, or that it ended before the input did. */
export type InflateProblem = 'damaged' | 'followed-by-other-data';

/** What Node's decoders have within, and its synchronous functions use. */
interface DecoderInternals {
  readonly _handle: {
    writeSync(
      flush: number,
      input: Uint8Array,
      inputOffset: number,
      inputLength: number,
      output: Uint8Array,
      outputOffset: number,
      outputLength: number,
    ): void;
  };
  /** Room left in the output, and bytes left of the input, after a call. */
  readonly _writeState: Uint32Array;
}

function hasInternals(decoder: Gunzip): decoder is Gunzip & DecoderInternals {
  if (!('_handle' in decoder && '_writeState' in decoder)) return false;
  const { _handle: handle, _writeState: state } = decoder;
  return (
    typeof handle === 'object' && handle !== null && 'writeSync' in handle && state instanceof Uint32Array
  );
}

/**
 * Inflates gzip (all members) in the thread that calls, piece by piece, into one buffer. Node's streams take every piece
 * to a thread of the pool and back, into a new buffer.
 */
export class Inflater {
  readonly #decoder: Gunzip & DecoderInternals;
  readonly #output = Buffer.allocUnsafeSlow(outputSize);
  #problem: InflateProblem | undefined;

  private constructor(decoder: Gunzip & DecoderInternals) {
    this.#decoder = decoder;
    const { _handle: handle } = decoder;
    const onerror = (): void => {
      this.#problem = 'damaged';
    };
    Object.assign(handle, { onerror });
  }

  /** Creates an inflater; undefined if this version of Node does not let us. */
  static create(): Inflater | undefined {
    const decoder = createGunzip();
    return hasInternals(decoder) ? new Inflater(decoder) : undefined;
  }

  /** What was wrong with the input so far. */
  get problem(): InflateProblem | undefined {
    return this.#problem;
  }

  /** Yields what a piece of the input inflates to, until there is a problem. */
  *inflate(input: Uint8Array): Generator<LentChunk> {
    yield* this.#write(input, constants.Z_NO_FLUSH);
  }

  /** Yields the rest once the input has ended. */
  *end(): Generator<LentChunk> {
    if (this.#problem === undefined) yield* this.#write(new Uint8Array(0), constants.Z_FINISH);
  }

  /** Frees the memory. */
  close(): void {
    this.#decoder.destroy();
  }

  *#write(input: Uint8Array, flush: number): Generator<LentChunk> {
    const { _handle: handle, _writeState: state } = this.#decoder;
    let left = input.length;
    for (;;) {
      handle.writeSync(flush, input, input.length - left, left, this.#output, 0, outputSize);
      if (this.#problem !== undefined) return;
      const [room = 0, unread = 0] = state;
      left = unread;
      if (room < outputSize) yield this.#output.subarray(0, outputSize - room);
      if (room > 0) break;
    }
    if (left > 0) this.#problem = 'followed-by-other-data';
  }
}
