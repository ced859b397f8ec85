import { copyContent, type TarEntry } from '../../../registry/tar/entry.ts';
import { bufferSource, type ByteSource, fileSource } from '../../../shared/byte-source.ts';
import { freeMemory, type LentChunk, writeChunkSync } from '../../../shared/chunks.ts';
import type { TemporaryFile } from '../../../shared/temporary.ts';
import { openTemporaryFile, usingTemporaryFiles } from '../../files/temporary-files.ts';

/** Files up to this many bytes are processed in memory, larger ones only in the spool. */
const inMemoryLimit = 16 * 1024 * 1024;

/** Enough for most modules, so that memory seldom has to be replaced by a larger buffer. */
const minMemory = 2 * 1024 * 1024;

const noMemory = Buffer.alloc(0);

/**
 * A temporary file that holds the modules of an image, back to back, so that memory use stays small. It is
 * created when the first bytes are stored. All methods throw SignerError FILE_ERROR.
 */
export class Spool implements AsyncDisposable {
  readonly #directory: string | undefined;
  #file: Promise<TemporaryFile> | undefined;
  #end = 0;
  #memory = noMemory;

  constructor(directory?: string) {
    this.#directory = directory;
  }

  /** Stores bytes and returns the range of the file that holds them. */
  async store(bytes: Buffer): Promise<ByteSource> {
    const start = this.#reserve(bytes.length);
    const { handle } = await this.#open();
    await this.#write(handle, bytes, start);
    return fileSource(handle, { start, size: bytes.length });
  }

  /**
   * Returns the content of a tar entry, for use before the next entry is read: small content in memory that
   * is reused for the next entry, larger content stored.
   */
  async load(entry: TarEntry): Promise<ByteSource> {
    if (entry.size > inMemoryLimit) return this.#storeEntry(entry);
    if (this.#memory.length < entry.size) {
      this.freeMemory();
      this.#memory = Buffer.allocUnsafeSlow(Math.max(entry.size, minMemory));
    }
    const bytes = this.#memory.subarray(0, entry.size);
    await copyContent(entry, bytes);
    return bufferSource(bytes);
  }

  /** Frees the memory of the entry that was loaded last. */
  freeMemory(): void {
    freeMemory(this.#memory);
    this.#memory = noMemory;
  }

  /** Stores a source that is not stored yet. */
  async ensureStored(source: ByteSource): Promise<ByteSource> {
    return source.size > inMemoryLimit ? source : this.store(await source.read(0, source.size));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.freeMemory();
    const file = await this.#file?.catch(() => undefined);
    await file?.[Symbol.asyncDispose]();
  }

  #open(): Promise<TemporaryFile> {
    this.#file ??= openTemporaryFile(this.#directory);
    return this.#file;
  }

  async #storeEntry(entry: TarEntry): Promise<ByteSource> {
    const start = this.#reserve(entry.size);
    const { handle } = await this.#open();
    let at = start;
    for await (const chunk of entry.content()) {
      await this.#write(handle, chunk, at);
      at += chunk.length;
    }
    return fileSource(handle, { start, size: entry.size });
  }

  #reserve(size: number): number {
    const start = this.#end;
    this.#end += size;
    return start;
  }

  /**
   * Writes synchronously: in the thread pool, writes would wait for signatures, which take longer than writing
   * to the page cache.
   */
  #write(handle: TemporaryFile['handle'], chunk: LentChunk, position: number): Promise<void> {
    return usingTemporaryFiles(this.#directory, () =>
      Promise.resolve().then(() => writeChunkSync(handle.fd, chunk, position)),
    );
  }
}
