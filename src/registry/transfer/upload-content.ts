import { Transform, pipeline, type Readable } from 'node:stream';
import { RegistryError } from '../errors.ts';
import type { Descriptor } from '../manifest.ts';

/** Bytes that are read ahead of the network. */
const highWaterMark = 1024 * 1024;

/** The bytes of a blob on their way up. Remembers when it was they that failed, and not the registry. */
export class UploadContent {
  readonly #descriptor: Descriptor;
  readonly #open: () => Readable;
  readonly #onBytes: (count: number) => void;
  #current: Readable | undefined;
  /** What went wrong with the content itself. */
  error: Error | undefined;

  constructor(descriptor: Descriptor, open: () => Readable, onBytes: (count: number) => void) {
    this.#descriptor = descriptor;
    this.#open = open;
    this.#onBytes = onBytes;
  }

  /** The bytes from the start, counted; ends in an error when they are more or fewer than promised. */
  stream(): Readable {
    return this.#pass(this.#onBytes);
  }

  /** As `stream`, not counted. */
  bytes(): AsyncIterable<Buffer> {
    return this.#pass(() => {});
  }

  /** Lets go of the content when the upload is over. */
  close(): void {
    this.#current?.destroy();
  }

  #pass(onBytes: (count: number) => void): Readable {
    this.close();
    const source = this.#open();
    const { size } = this.#descriptor;
    let position = 0;
    const pass = new Transform({
      highWaterMark,
      transform: (chunk: Buffer, _encoding, callback) => {
        position += chunk.length;
        onBytes(chunk.length);
        if (position > size) callback((this.error ??= this.#wrongSize()));
        else callback(null, chunk);
      },
      flush: (callback) => {
        if (position === size) callback();
        else callback((this.error ??= this.#wrongSize()));
      },
    });
    // When the upload lets go first, the source is torn down with it; that is not the source's fault.
    source.once('error', (error) => {
      if (!pass.destroyed) this.error ??= error;
    });
    this.#current = pass;
    pipeline(source, pass, () => {});
    return pass;
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
