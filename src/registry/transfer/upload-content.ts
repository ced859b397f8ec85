import { Readable } from 'node:stream';
import { copyOf, type LentChunk, type LentChunks } from '../../shared/chunks.ts';
import { RegistryError } from '../model/errors.ts';
import type { Descriptor } from '../model/manifest.ts';

/**
 * The content of a blob being uploaded. Records whether a failure came from the content rather than the
 * registry.
 */
export class UploadContent {
  readonly #descriptor: Descriptor;
  readonly #open: () => LentChunks;
  readonly #onBytes: (count: number) => void;
  #source: LentChunks | undefined;
  /** The error of the content itself. */
  error: unknown;

  constructor(descriptor: Descriptor, open: () => LentChunks, onBytes: (count: number) => void) {
    this.#descriptor = descriptor;
    this.#open = open;
    this.#onBytes = onBytes;
  }

  /**
   * Streams the bytes from the start and reports their number; fails if there are more or fewer than
   * promised.
   */
  stream(): LentChunks {
    return this.#pass(this.#onBytes);
  }

  /** Does what `stream` does, without reporting the number of bytes. */
  bytes(): LentChunks {
    return this.#pass(() => {});
  }

  /** Releases the content once the upload is over. */
  close(): void {
    const source = this.#source;
    this.#source = undefined;
    // There may be no reader at the moment.
    if (source instanceof Readable) source.on('error', () => {}).destroy();
  }

  async *#pass(onBytes: (count: number) => void): AsyncGenerator<LentChunk> {
    this.close();
    const source = this.#open();
    this.#source = source;
    const { size } = this.#descriptor;
    let position = 0;
    let last: Buffer | undefined;
    try {
      for await (const chunk of source) {
        position += chunk.length;
        if (position > size) throw this.#wrongSize();
        if (chunk.length === 0) continue;
        if (position === size) {
          // Held back until it is certain that nothing follows: with it, the registry would have the whole
          // blob.
          last = copyOf(chunk);
        } else {
          onBytes(chunk.length);
          yield chunk;
        }
      }
      if (position !== size) throw this.#wrongSize();
      if (last === undefined) return;
      onBytes(last.length);
      yield last;
    } catch (error) {
      // If the upload is closed first, the source is destroyed with it, which is not a failure of the source.
      if (this.#source === source) this.error ??= error;
      throw error;
    }
  }

  #wrongSize(): RegistryError {
    const { digest, size } = this.#descriptor;
    return new RegistryError({
      code: 'DIGEST_MISMATCH',
      message: `the content for the blob ${digest} does not have the ${size} bytes its descriptor promises`,
      facts: { digest },
    });
  }
}
