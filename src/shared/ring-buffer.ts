import type { LentChunk } from './chunks.ts';

/** Positions in the state: bytes written and read, modulo 2^32, how often the writer did something, and the end. */
const written = 0;
const read = 1;
const turns = 2;
const ended = 3;

/** Largest piece that a reader gets, in bytes, so that the writer has room again soon. */
const pieceSize = 256 * 1024;

/** Memory through which one thread passes a stream of bytes to another. It can be sent in a message. */
export interface RingBuffer {
  readonly bytes: Uint8Array<SharedArrayBuffer>;
  readonly state: Int32Array<SharedArrayBuffer>;
}

/** Creates a ring buffer. @param size bytes that the writer can be ahead of the reader */
export function createRingBuffer(size: number): RingBuffer {
  return {
    bytes: new Uint8Array(new SharedArrayBuffer(size)),
    state: new Int32Array(new SharedArrayBuffer(4 * Int32Array.BYTES_PER_ELEMENT)),
  };
}

/** Writes a stream into a ring buffer, of which nobody reads an earlier one any more, without blocking its thread. */
export class RingWriter {
  readonly #ring: RingBuffer;
  #isAbandoned = false;

  constructor(ring: RingBuffer) {
    this.#ring = ring;
    ring.state.fill(0);
  }

  /** Copies a chunk, as soon as there is room. Returns false if the writer has been abandoned. */
  async write(chunk: LentChunk): Promise<boolean> {
    const { bytes, state } = this.#ring;
    for (let offset = 0; offset < chunk.length && !this.#isAbandoned;) {
      const from = Atomics.load(state, read);
      const to = Atomics.load(state, written);
      const room = bytes.length - ((to - from) | 0);
      if (room === 0) {
        await Atomics.waitAsync(state, read, from).value;
        continue;
      }
      const at = (to >>> 0) % bytes.length;
      const count = chunk.copy(bytes, at, offset, offset + Math.min(room, bytes.length - at));
      offset += count;
      Atomics.add(state, written, count);
      this.#wake();
    }
    return !this.#isAbandoned;
  }

  /** Says that the stream has ended. */
  end(): void {
    Atomics.store(this.#ring.state, ended, 1);
    this.#wake();
  }

  /** Ends a wait for room: nobody reads any more. */
  abandon(): void {
    this.#isAbandoned = true;
    Atomics.notify(this.#ring.state, read);
  }

  #wake(): void {
    Atomics.add(this.#ring.state, turns, 1);
    Atomics.notify(this.#ring.state, turns);
  }
}

/** Yields what is written into a ring buffer until the stream ends, and blocks the thread meanwhile. */
export function* readRingBuffer({ bytes, state }: RingBuffer): Generator<LentChunk> {
  for (;;) {
    const turn = Atomics.load(state, turns);
    const isLast = Atomics.load(state, ended) === 1;
    const from = Atomics.load(state, read);
    const present = (Atomics.load(state, written) - from) | 0;
    if (present > 0) {
      const at = (from >>> 0) % bytes.length;
      const count = Math.min(present, bytes.length - at, pieceSize);
      yield Buffer.from(bytes.buffer, at, count);
      Atomics.add(state, read, count);
      Atomics.notify(state, read);
    } else if (isLast) {
      return;
    } else {
      Atomics.wait(state, turns, turn);
    }
  }
}
