import { writeSync } from 'node:fs';
import { copyContent, type TarEntry } from '../../../registry/tar/entry.ts';
import { bufferSource, type ByteSource, fileSource } from '../../../shared/byte-source.ts';
import type { TemporaryFile } from '../../../shared/temporary.ts';
import { openTemporaryFile, usingTemporaryFiles } from '../../files/temporary-files.ts';

/** Files up to this many bytes are looked at in memory, larger ones in the spool only. */
const inMemoryLimit = 16 * 1024 * 1024;

/** Enough for most modules, so that the memory seldom has to be replaced by a larger one. */
const minMemory = 2 * 1024 * 1024;

/** One temporary file that takes the modules of an image, one behind the other, so that memory stays small. */
export class Spool implements AsyncDisposable {
  readonly #file: TemporaryFile;
  readonly #directory: string | undefined;
  #end = 0;
  #memory = Buffer.alloc(0);

  private constructor(file: TemporaryFile, directory: string | undefined) {
    this.#file = file;
    this.#directory = directory;
  }

  /** @throws SignerError FILE_ERROR, as do all its other functions */
  static async create(directory?: string): Promise<Spool> {
    return new Spool(await openTemporaryFile(directory), directory);
  }

  /** Stores bytes and gives them back as a range of the file. */
  async store(bytes: Buffer): Promise<ByteSource> {
    const start = this.#reserve(bytes.length);
    await this.#write(bytes, start);
    return fileSource(this.#file.handle, { start, size: bytes.length });
  }

  /**
   * The content of a tar entry, to be used before the next entry is read: in memory that is used again for
   * the next when it is small, else stored.
   */
  async present(entry: TarEntry): Promise<ByteSource> {
    if (entry.size > inMemoryLimit) return this.#storeEntry(entry);
    if (this.#memory.length < entry.size)
      this.#memory = Buffer.allocUnsafeSlow(Math.max(entry.size, minMemory));
    const bytes = this.#memory.subarray(0, entry.size);
    await copyContent(entry, bytes);
    return bufferSource(bytes);
  }

  /** Stores what is not stored yet. */
  async keep(source: ByteSource): Promise<ByteSource> {
    return source.size > inMemoryLimit ? source : this.store(await source.read(0, source.size));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file[Symbol.asyncDispose]();
  }

  async #storeEntry(entry: TarEntry): Promise<ByteSource> {
    const start = this.#reserve(entry.size);
    let at = start;
    for await (const chunk of entry.content()) {
      await this.#write(chunk, at);
      at += chunk.length;
    }
    return fileSource(this.#file.handle, { start, size: entry.size });
  }

  #reserve(size: number): number {
    const start = this.#end;
    this.#end += size;
    return start;
  }

  #write(bytes: Buffer, position: number): Promise<void> {
    return usingTemporaryFiles(this.#directory, () =>
      Promise.resolve().then(() => this.#writeAll(bytes, position)),
    );
  }

  /** Not in the thread pool, where it would wait behind signatures that take longer than to write into the page cache. */
  #writeAll(bytes: Buffer, position: number): void {
    let done = 0;
    while (done < bytes.length) {
      done += writeSync(this.#file.handle.fd, bytes, done, bytes.length - done, position + done);
    }
  }
}
