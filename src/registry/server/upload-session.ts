import { createHash, randomUUID, type Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, rm, type FileHandle } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { freeMemory, queuedChunks } from '../../shared/chunks.ts';
import { digestAlgorithm, digestHex, type Digest } from '../model/digest.ts';
import type { StorageLayout } from './storage.ts';

/** Bytes gathered before a write, so that small network reads do not become small writes. */
const writeSize = 512 * 1024;

/** Bytes read from a connection during a write. */
const readAhead = 256 * 1024;

/** Milliseconds after which an idle session is cancelled. */
const sessionLifetime = 60 * 60 * 1000;

/** Milliseconds between two searches for idle sessions. */
const searchInterval = 60 * 1000;

/** A blob being uploaded: its file, size and sha256 so far. */
export class UploadSession {
  readonly id = randomUUID();
  readonly repository: string;
  readonly file: string;
  #touched = Date.now();
  #isReceiving = false;
  #isBroken = false;
  #size = 0;
  readonly #sha256: Hash = createHash('sha256');
  #handle: FileHandle | undefined;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(repository: string, layout: StorageLayout) {
    this.repository = repository;
    this.file = layout.uploadFile(this.id);
  }

  /** Bytes received. */
  get size(): number {
    return this.#size;
  }

  /** Runs operations one at a time: a client may reconnect before its broken connection has been detected. */
  exclusively<Result>(operation: () => Promise<Result>): Promise<Result> {
    const run = this.#turn.then(operation, operation);
    this.#turn = run.catch(() => {});
    return run;
  }

  /** Tells whether a write failed, so that the upload cannot be continued. */
  get isBroken(): boolean {
    return this.#isBroken;
  }

  /** Tells whether the session has been idle for so long that it is to be cancelled. */
  isAbandoned(now: number): boolean {
    return !this.#isReceiving && this.#touched < now - sessionLifetime;
  }

  /**
   * Appends a body, and frees its memory. If the body breaks off, what was received is kept, so that the client can
   * resume. The rest of a body that cannot be stored is left unread, so that the response still gets through.
   */
  async append(body: Readable): Promise<void> {
    let gathered: Buffer[] = [];
    let bytes = 0;
    this.#isReceiving = true;
    try {
      for await (const chunk of queuedChunks(body, readAhead)) {
        gathered.push(chunk);
        bytes += chunk.length;
        if (bytes < writeSize) continue;
        await this.#write(gathered, bytes);
        gathered = [];
        bytes = 0;
      }
      if (!body.readableEnded) throw new Error('the body was closed before its end');
    } finally {
      this.#isReceiving = false;
      this.#touched = Date.now();
      if (bytes > 0 && !this.#isBroken) await this.#write(gathered, bytes);
    }
  }

  async #write(chunks: Buffer[], bytes: number): Promise<void> {
    try {
      this.#handle ??= await open(this.file, 'wx');
      const writing = this.#handle.writev(chunks, this.#size);
      // The disk is busy meanwhile. After a failed write the digest no longer matters.
      for (const chunk of chunks) this.#sha256.update(chunk);
      let { bytesWritten } = await writing;
      // A nearly full disk accepts only a part; the next attempt reports the error.
      while (bytesWritten < bytes) {
        const rest = Buffer.concat(chunks).subarray(bytesWritten);
        bytesWritten += (await this.#handle.write(rest, 0, rest.length, this.#size + bytesWritten))
          .bytesWritten;
      }
    } catch (error) {
      this.#isBroken = true;
      throw error;
    }
    this.#size += bytes;
    for (const chunk of chunks) freeMemory(chunk);
  }

  /** Finishes the upload: makes the bytes durable and tells whether they match `digest`. */
  async finish(digest: Digest): Promise<boolean> {
    this.#handle ??= await open(this.file, 'wx');
    await this.#handle.datasync();
    await this.#close();
    if (digestAlgorithm(digest) === 'sha256') return this.#sha256.digest('hex') === digestHex(digest);
    const hash = createHash(digestAlgorithm(digest));
    await pipeline(createReadStream(this.file, { highWaterMark: writeSize }), hash);
    return hash.digest('hex') === digestHex(digest);
  }

  /** Cancels the upload. */
  async cancel(): Promise<void> {
    await this.#close();
    await rm(this.file, { force: true });
  }

  async #close(): Promise<void> {
    const handle = this.#handle;
    this.#handle = undefined;
    await handle?.close();
  }
}

/** The upload sessions of a running registry. They do not outlive it. */
export class UploadSessions {
  readonly #layout: StorageLayout;
  readonly #sessions = new Map<string, UploadSession>();

  readonly #timer: NodeJS.Timeout;

  constructor(layout: StorageLayout) {
    this.#layout = layout;
    this.#timer = setInterval(() => void this.#forgetAbandoned(), searchInterval).unref();
  }

  start(repository: string): UploadSession {
    const session = new UploadSession(repository, this.#layout);
    this.#sessions.set(session.id, session);
    return session;
  }

  /** Returns the session with that id in that repository; undefined if there is none. */
  find(repository: string, id: string): UploadSession | undefined {
    const session = this.#sessions.get(id);
    return session?.repository === repository ? session : undefined;
  }

  /** Removes a session; the caller handles its file. */
  remove(session: UploadSession): void {
    this.#sessions.delete(session.id);
  }

  /** Removes a session and its file. The caller must have exclusive use of the session. */
  async cancel(session: UploadSession): Promise<void> {
    this.remove(session);
    await session.cancel();
  }

  /** Cancels every session. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    const sessions = [...this.#sessions.values()];
    this.#sessions.clear();
    await Promise.all(sessions.map((session) => session.exclusively(() => session.cancel())));
  }

  async #forgetAbandoned(): Promise<void> {
    const now = Date.now();
    for (const session of this.#sessions.values()) {
      if (!session.isAbandoned(now)) continue;
      this.remove(session);
      // A file that cannot be removed now is removed at the next start.
      await session.exclusively(() => session.cancel()).catch(() => {});
    }
  }
}
