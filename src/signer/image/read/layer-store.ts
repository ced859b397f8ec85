import type { Readable } from 'node:stream';
import type { TemporaryFile } from '../../../shared/temporary.ts';
import { fileContent } from '../../../shared/byte-source.ts';
import { lendChunks, writeChunkSync, type LentChunk, type LentChunks } from '../../../shared/chunks.ts';
import { openTemporaryFile, usingTemporaryFiles } from '../../files/temporary-files.ts';

/** Copies of layer blobs on disk, kept from when they are read until they are rewritten. */
export class LayerStore implements AsyncDisposable {
  readonly #directory: string | undefined;
  readonly #files = new Map<number, TemporaryFile>();

  constructor(directory?: string) {
    this.#directory = directory;
  }

  /** Passes the stream through, and copies its bytes to a file. @throws SignerError FILE_ERROR */
  async *tee(layer: number, blob: Readable): AsyncGenerator<LentChunk> {
    // An error emitted before the loop below listens is not lost: the loop starts with it.
    blob.on('error', () => {});
    const file = await openTemporaryFile(this.#directory);
    this.#files.set(layer, file);
    let position = 0;
    for await (const chunk of lendChunks(blob)) {
      // In the thread pool, each write would take longer to arrange than to copy into the page cache.
      await usingTemporaryFiles(this.#directory, async () => {
        writeChunkSync(file.handle.fd, chunk, position);
      });
      position += chunk.length;
      yield chunk;
    }
  }

  /** Opens the copy of a layer's blob. */
  open(layer: number): LentChunks {
    const file = this.#files.get(layer);
    if (file === undefined) throw new RangeError(`layer ${layer} was not copied`);
    return fileContent(file.handle);
  }

  /** Deletes the copies of all other layers. */
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
