import { createReadStream } from 'node:fs';
import type { Readable } from 'node:stream';
import type { TemporaryFile } from '../../shared/temporary-file.ts';
import { openTemporaryFile, usingTemporaryFiles } from '../temporary-files.ts';

/** Copies of layer blobs on disk, from the time they are read until they are written anew. */
export class LayerStore implements AsyncDisposable {
  readonly #directory: string | undefined;
  readonly #files = new Map<number, TemporaryFile>();

  constructor(directory?: string) {
    this.#directory = directory;
  }

  /** The same stream, with its bytes kept as they pass. @throws SignerError FILE_ERROR */
  async *keep(layer: number, blob: Readable): AsyncGenerator<Buffer> {
    // An error that comes before the loop below listens is not lost: the loop begins with it.
    blob.on('error', () => {});
    const file = await openTemporaryFile(this.#directory);
    this.#files.set(layer, file);
    for await (const chunk of blob as AsyncIterable<Buffer>) {
      await usingTemporaryFiles(this.#directory, () => file.handle.writeFile(chunk));
      yield chunk;
    }
  }

  /** Opens the copy of a layer's blob. */
  open(layer: number): Readable {
    const file = this.#files.get(layer);
    if (file === undefined) throw new RangeError(`layer ${layer} was not kept`);
    return createReadStream(file.path, { highWaterMark: 1024 * 1024 });
  }

  /** Gives up the copies of all layers but these. */
  async retain(layers: ReadonlySet<number>): Promise<void> {
    for (const [layer, file] of this.#files) {
      if (layers.has(layer)) continue;
      this.#files.delete(layer);
      await file[Symbol.asyncDispose]();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.retain(new Set());
  }
}
