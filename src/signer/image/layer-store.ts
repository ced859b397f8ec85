import { createReadStream } from 'node:fs';
import { Readable } from 'node:stream';
import { createTemporaryFile, type TemporaryFile } from '../../shared/temporary-file.ts';

/** Copies of layer blobs on disk, from the time they are read until they are written anew. */
export class LayerStore implements AsyncDisposable {
  readonly #directory: string | undefined;
  readonly #files = new Map<number, TemporaryFile>();

  constructor(directory?: string) {
    this.#directory = directory;
  }

  /** The same stream, with its bytes kept as they pass. */
  keep(layer: number, blob: Readable): Readable {
    return Readable.from(this.#copy(layer, blob), { objectMode: false, highWaterMark: 1024 * 1024 });
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

  async *#copy(layer: number, blob: Readable): AsyncGenerator<Buffer> {
    const file = await createTemporaryFile(this.#directory);
    this.#files.set(layer, file);
    for await (const chunk of blob as AsyncIterable<Buffer>) {
      await file.handle.write(chunk);
      yield chunk;
    }
  }
}
