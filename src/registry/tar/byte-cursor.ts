import type { LentChunk, LentChunks } from '../../shared/chunks.ts';

const empty = Buffer.alloc(0);

/** Reads exact numbers of bytes out of chunks of any size, as views where possible. */
export class ByteCursor {
  readonly #iterator: AsyncIterator<LentChunk>;
  #chunk: LentChunk = empty;
  #offset = 0;
  #chunkStart = 0;

  constructor(source: LentChunks) {
    this.#iterator = source[Symbol.asyncIterator]();
  }

  /** Bytes consumed since the start. */
  get position(): number {
    return this.#chunkStart + this.#offset;
  }

  /** Bytes left in the current chunk. */
  get available(): number {
    return this.#chunk.length - this.#offset;
  }

  /**
   * Returns the next `length` bytes as a view, or undefined if they are not all in the current chunk; use
   * `read` then.
   */
  view(length: number): LentChunk | undefined {
    const end = this.#offset + length;
    if (end > this.#chunk.length) return undefined;
    const bytes = this.#chunk.subarray(this.#offset, end);
    this.#offset = end;
    return bytes;
  }

  /** Returns the next `length` bytes; fewer if the source ends first. */
  async read(length: number): Promise<LentChunk> {
    const present = this.view(length);
    if (present !== undefined) return present;
    const bytes = Buffer.allocUnsafe(length);
    let filled = 0;
    while (filled < length) {
      const part = await this.some(length - filled);
      if (part === undefined) break;
      filled += part.copy(bytes, filled);
    }
    return bytes.subarray(0, filled);
  }

  /**
   * Returns a view of at least one and at most `limit` of the next bytes; undefined at the end of the source.
   */
  async some(limit: number): Promise<LentChunk | undefined> {
    if (this.#offset === this.#chunk.length && !(await this.#advance())) return undefined;
    const end = Math.min(this.#offset + limit, this.#chunk.length);
    const bytes = this.#chunk.subarray(this.#offset, end);
    this.#offset = end;
    return bytes;
  }

  /**
   * Skips at most `length` bytes, and not beyond the end of the current chunk (the next one, if nothing is
   * left in it). Returns how many; 0 at the end of the source.
   */
  async skipSome(length: number): Promise<number> {
    if (this.#offset === this.#chunk.length && !(await this.#advance())) return 0;
    const count = Math.min(length, this.#chunk.length - this.#offset);
    this.#offset += count;
    return count;
  }

  /** Skips `length` bytes; returns how many there were. */
  async skip(length: number): Promise<number> {
    let missing = length;
    while (missing > 0) {
      const count = await this.skipSome(missing);
      if (count === 0) break;
      missing -= count;
    }
    return length - missing;
  }

  /** Skips `length` bytes if they are all in the current chunk. Returns whether it did. */
  skipWithinChunk(length: number): boolean {
    if (this.#offset + length > this.#chunk.length) return false;
    this.#offset += length;
    return true;
  }

  /** Tells the source that no more will be read. */
  async close(): Promise<void> {
    this.#chunkStart = this.position;
    this.#chunk = empty;
    this.#offset = 0;
    await this.#iterator.return?.();
  }

  async #advance(): Promise<boolean> {
    for (;;) {
      // Before the next one is requested: this one has no length once it has been freed.
      this.#chunkStart += this.#chunk.length;
      this.#chunk = empty;
      this.#offset = 0;
      const result = await this.#iterator.next();
      this.#chunk = result.done === true ? empty : result.value;
      if (result.done === true) return false;
      if (this.#chunk.length > 0) return true;
    }
  }
}
