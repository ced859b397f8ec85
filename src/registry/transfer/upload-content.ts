import { Readable } from 'node:stream';
import { RegistryError } from '../model/errors.ts';
import type { Descriptor } from '../model/manifest.ts';

/** The bytes of a blob on their way up. Remembers when it was they that failed, and not the registry. */
export class UploadContent {
  readonly #descriptor: Descriptor;
  readonly #open: () => AsyncIterable<Buffer>;
  readonly #onBytes: (count: number) => void;
  #source: AsyncIterable<Buffer> | undefined;
  /** What went wrong with the content itself. */
  error: unknown;

  constructor(descriptor: Descriptor, open: () => AsyncIterable<Buffer>, onBytes: (count: number) => void) {
    this.#descriptor = descriptor;
    this.#open = open;
    this.#onBytes = onBytes;
  }

  /** The bytes from the start, counted; ends in an error when they are more or fewer than promised. */
  stream(): AsyncIterable<Buffer> {
    return this.#pass(this.#onBytes);
  }

  /** As `stream`, not counted. */
  bytes(): AsyncIterable<Buffer> {
    return this.#pass(() => {});
  }

  /** Lets go of the content when the upload is over. */
  close(): void {
    const source = this.#source;
    this.#source = undefined;
    // Nobody may be reading it just now.
    if (source instanceof Readable) source.on('error', () => {}).destroy();
  }

  async *#pass(onBytes: (count: number) => void): AsyncGenerator<Buffer> {
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
          // Sent when it is certain that nothing follows: with it, the registry would have the whole blob.
          last = Buffer.from(chunk);
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
      // When the upload lets go first, the source is torn down with it; that is not the source's fault.
      if (this.#source === source) this.error ??= error;
      throw error;
    }
  }

  #wrongSize(): RegistryError {
    const { digest, size } = this.#descriptor;
    return new RegistryError({
      code: 'DIGEST_MISMATCH',
      message: `the content for the blob ${digest} has not the ${size} bytes of its descriptor`,
      facts: { digest },
    });
  }
}
