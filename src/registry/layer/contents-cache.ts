import { randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { lstat, mkdir, open, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { keepHeapSmall } from '../../shared/small-heap.ts';
import { digestHex, digestOf } from '../model/digest.ts';
import type { ContentsStore } from './contents-memory.ts';
import {
  type ContentsRecorder,
  decodeContents,
  type LayerContents,
  type LayerIdentity,
} from './layer-contents.ts';

/** Limits of a directory with records; those that were used least recently go first. */
export interface ContentsCacheLimits {
  readonly maxFiles: number;
  /** Bytes of all records together. */
  readonly maxBytes: number;
}

const defaultLimits: ContentsCacheLimits = { maxFiles: 1000, maxBytes: 128 * 1024 ** 2 };
/** Limit on the bytes of one record. The one of a layer with 30,000 entries has 200 kB. */
const maxFileBytes = 16 * 1024 ** 2;

/** Bytes of a record whose entries take megabytes. */
const largeFile = 16 * 1024;

/** Increased whenever records change, or what a reader of layers refuses. */
const formatVersion = 1;
const recordName = /^[0-9a-f]{64}$/;
const temporaryName = /^[0-9a-f-]{36}\.tmp$/;
/** Milliseconds after which a file that a process began to write is one of a process that was killed. */
const temporaryAge = 60 * 60 * 1000;
const writableByOthers = 0o022;

/** Where a cache is. */
export interface ContentsCacheOptions {
  /** Created, with at most two levels above it. */
  readonly directory: string;
  /** The version of the program: another one may read layers otherwise. */
  readonly program: string;
  readonly limits?: ContentsCacheLimits | undefined;
}

/**
 * What layers contain, in files, as it was read from blobs whose digest, size and diff ID were verified. A file
 * that is damaged, or that somebody else could have written, is as good as none. Several processes may use the same
 * directory. Nothing here throws.
 */
export class ContentsCache implements ContentsStore, AsyncDisposable {
  readonly #directory: string;
  readonly #program: string;
  readonly #limits: ContentsCacheLimits;
  readonly #writing: Promise<void>[] = [];

  private constructor({ directory, program, limits = defaultLimits }: ContentsCacheOptions) {
    this.#directory = directory;
    this.#program = program;
    this.#limits = limits;
  }

  /** Opens a cache; undefined if the directory cannot be used, or could be written by others. */
  static async open(options: ContentsCacheOptions): Promise<ContentsCache | undefined> {
    const { directory } = options;
    try {
      // One that is there already is looked at below.
      for (const path of [dirname(dirname(directory)), dirname(directory), directory])
        await mkdir(path, { mode: 0o700 }).catch(() => {});
      const found = await lstat(directory);
      return found.isDirectory() && isOurs(found) ? new ContentsCache(options) : undefined;
    } catch {
      return undefined;
    }
  }

  /** Returns the contents of a layer, if they are known. */
  async find(layer: LayerIdentity): Promise<LayerContents | undefined> {
    const key = this.#keyOf(layer);
    try {
      const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
      await using file = await open(this.#pathOf(key), O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
      const found = await file.stat();
      if (!found.isFile() || !isOurs(found) || found.size > maxFileBytes) return undefined;
      if (found.size >= largeFile) keepHeapSmall();
      const bytes = Buffer.alloc(found.size);
      const { bytesRead } = await file.read(bytes, 0, found.size, 0);
      const contents = await decodeContents(key, bytes.subarray(0, bytesRead));
      if (contents !== undefined) await file.utimes(new Date(), new Date()).catch(() => {});
      return contents;
    } catch {
      return undefined;
    }
  }

  /** Keeps what a layer contains, once it has been read and verified. Writes in the background. */
  store(layer: LayerIdentity, recorder: ContentsRecorder): void {
    const key = this.#keyOf(layer);
    this.#writing.push(this.#write(key, recorder).catch(() => {}));
  }

  /** Waits until everything is written, and removes what is too much. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#writing.length === 0) return;
    await Promise.all(this.#writing);
    await this.#prune().catch(() => {});
  }

  #keyOf({ digest, size, diffId }: LayerIdentity): string {
    return `kmm-sign layer contents ${formatVersion} ${this.#program} ${digest} ${size} ${diffId}`;
  }

  #pathOf(key: string): string {
    return join(this.#directory, digestHex(digestOf(key)));
  }

  async #write(key: string, recorder: ContentsRecorder): Promise<void> {
    const bytes = await recorder.encode(key);
    if (bytes === undefined || bytes.length > maxFileBytes) return;
    const temporary = join(this.#directory, `${randomUUID()}.tmp`);
    try {
      await writeFile(temporary, bytes, { flag: 'wx', mode: 0o600 });
      await rename(temporary, this.#pathOf(key));
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
  }

  async #prune(): Promise<void> {
    const records: { readonly path: string; readonly size: number; readonly used: number }[] = [];
    for (const name of await readdir(this.#directory)) {
      const path = join(this.#directory, name);
      const found =
        recordName.test(name) || temporaryName.test(name) ? await stat(path).catch(() => null) : null;
      if (found === null) continue;
      if (recordName.test(name)) records.push({ path, size: found.size, used: found.mtimeMs });
      else if (found.mtimeMs < Date.now() - temporaryAge) await rm(path, { force: true });
    }
    let bytes = 0;
    const { maxFiles, maxBytes } = this.#limits;
    for (const [index, { path, size }] of records.toSorted((a, b) => b.used - a.used).entries()) {
      bytes += size;
      if (index >= maxFiles || bytes > maxBytes) await rm(path, { force: true });
    }
  }
}

/** Tells whether only this user can have written a file or directory. */
function isOurs({ uid, mode }: { readonly uid: number; readonly mode: number }): boolean {
  return uid === process.geteuid?.() && (mode & writableByOthers) === 0;
}
