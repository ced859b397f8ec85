import { Readable } from 'node:stream';
import { copyOf, joinChunks, type LentChunk, type LentChunks } from '../../shared/chunks.ts';
import type { Digest } from '../model/digest.ts';

/** Limits that keep a hostile layer from exhausting the machine's resources. */
export interface LayerLimits {
  /** Bytes of tar that one layer may unpack to. */
  readonly maxUncompressedBytes: number;
  /** Entries of one layer. */
  readonly maxEntries: number;
}

export const defaultLayerLimits: LayerLimits = {
  maxUncompressedBytes: 64 * 1024 ** 3,
  maxEntries: 2_000_000,
};

/** Identifies an entry of an image. */
export interface LayerEntry {
  /** Position of the layer in the manifest, base = 0. */
  readonly layer: number;
  /** Position of the entry in the layer's tar. */
  readonly index: number;
  /** Cleaned, as in TarEntryHeader. */
  readonly path: string;
}

/** A layer blob that was completely written to a local file and hashed. */
export interface WrittenLayer {
  readonly file: string;
  readonly digest: Digest;
  /** Bytes of the compressed blob. */
  readonly size: number;
  /** Digest of the uncompressed tar. */
  readonly diffId: Digest;
  /** Bytes of the uncompressed tar. */
  readonly uncompressedSize: number;
}

/** A source of compressed bytes that supports peeking, draining and cancelling. */
export class LayerSource {
  readonly #source: LentChunks;
  readonly #iterator: AsyncIterator<LentChunk>;
  #pushedBack: LentChunk | undefined;
  #ended = false;
  /** The error of the source. */
  failure: { readonly error: unknown } | undefined;
  /** Bytes returned by `next`. */
  bytes = 0;

  constructor(source: LentChunks) {
    this.#source = source;
    this.#iterator = source[Symbol.asyncIterator]();
  }

  /** Returns the first `length` bytes without consuming them; fewer if the source is shorter. */
  async peek(length: number): Promise<Buffer> {
    const parts: LentChunk[] = [];
    let missing = length;
    while (missing > 0) {
      const chunk = await this.#pull();
      if (chunk === undefined) break;
      missing -= chunk.length;
      parts.push(missing > 0 ? copyOf(chunk) : chunk);
    }
    const first = parts[0] !== undefined && parts.length === 1 ? parts[0] : joinChunks(parts);
    this.#pushedBack = first;
    return copyOf(first.subarray(0, length));
  }

  /** Returns the next chunk; undefined at the end. */
  async next(): Promise<LentChunk | undefined> {
    const chunk = this.#pushedBack ?? (await this.#pull());
    this.#pushedBack = undefined;
    this.bytes += chunk?.length ?? 0;
    return chunk;
  }

  /** Reads the rest. Returns whether there was any. Throws the source's error, even if it failed earlier. */
  async drain(): Promise<boolean> {
    let found = false;
    if (this.failure !== undefined) throw this.failure.error;
    for (;;) {
      const chunk = await this.next();
      if (chunk === undefined) return found;
      if (chunk.length > 0) found = true;
    }
  }

  /** Stops the source unless it has ended. Never throws: the source is no longer of interest. */
  async cancel(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    // Otherwise `return` would wait for a pending read of the stream.
    if (this.#source instanceof Readable) this.#source.destroy();
    try {
      await this.#iterator.return?.();
    } catch {
      // The source reports that it was stopped.
    }
  }

  async #pull(): Promise<LentChunk | undefined> {
    if (this.#ended) return undefined;
    try {
      const result = await this.#iterator.next();
      if (result.done !== true) return result.value;
      this.#ended = true;
      return undefined;
    } catch (error) {
      this.#ended = true;
      this.failure = { error };
      throw error;
    }
  }
}
