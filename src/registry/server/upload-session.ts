import { createHash, randomUUID, type Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, rm, type FileHandle } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { digestAlgorithm, digestHex, type Digest } from '../digest.ts';
import type { StorageLayout } from './storage.ts';

/** Bytes that are gathered before they are written, so that small network reads do not become small writes. */
const writeSize = 1024 * 1024;

/** Milliseconds after which a session that nobody touches is given up. */
const sessionLifetime = 24 * 60 * 60 * 1000;

/** A blob on its way in: a file, how far it is, and its sha256 so far. */
export class UploadSession {
  readonly id = randomUUID();
  readonly repository: string;
  readonly file: string;
  touched = Date.now();
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

  /** Runs one operation after the other: a client may come back before its broken connection was noticed. */
  exclusively<Result>(operation: () => Promise<Result>): Promise<Result> {
    const run = this.#turn.then(operation, operation);
    this.#turn = run.catch(() => {});
    return run;
  }

  /** Appends a body. What came before it broke off is kept, so the client can resume. */
  async append(body: AsyncIterable<Buffer>): Promise<void> {
    this.touched = Date.now();
    this.#handle ??= await open(this.file, 'wx');
    let gathered: Buffer[] = [];
    let bytes = 0;
    try {
      for await (const chunk of body) {
        gathered.push(chunk);
        bytes += chunk.length;
        if (bytes < writeSize) continue;
        await this.#write(this.#handle, gathered, bytes);
        gathered = [];
        bytes = 0;
      }
    } finally {
      if (bytes > 0) await this.#write(this.#handle, gathered, bytes);
      this.touched = Date.now();
    }
  }

  async #write(handle: FileHandle, chunks: Buffer[], bytes: number): Promise<void> {
    const { bytesWritten } = await handle.writev(chunks, this.#size);
    if (bytesWritten !== bytes) throw new Error(`only ${bytesWritten} of ${bytes} bytes could be written`);
    for (const chunk of chunks) this.#sha256.update(chunk);
    this.#size += bytes;
  }

  /** Ends the upload: makes the bytes durable and tells whether they are those of `digest`. */
  async finish(digest: Digest): Promise<boolean> {
    this.#handle ??= await open(this.file, 'wx');
    await this.#handle.datasync();
    await this.#close();
    if (digestAlgorithm(digest) === 'sha256') return this.#sha256.digest('hex') === digestHex(digest);
    const hash = createHash(digestAlgorithm(digest));
    await pipeline(createReadStream(this.file, { highWaterMark: writeSize }), hash);
    return hash.digest('hex') === digestHex(digest);
  }

  /** Gives the upload up. */
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

/** The sessions of a running registry. They do not outlive it. */
export class UploadSessions {
  readonly #layout: StorageLayout;
  readonly #sessions = new Map<string, UploadSession>();

  constructor(layout: StorageLayout) {
    this.#layout = layout;
  }

  async start(repository: string): Promise<UploadSession> {
    await this.#forgetAbandoned();
    const session = new UploadSession(repository, this.#layout);
    this.#sessions.set(session.id, session);
    return session;
  }

  /** The session of that id in that repository; undefined when there is none. */
  find(repository: string, id: string): UploadSession | undefined {
    const session = this.#sessions.get(id);
    return session?.repository === repository ? session : undefined;
  }

  /** Forgets a session; its file is the caller's business. */
  remove(session: UploadSession): void {
    this.#sessions.delete(session.id);
  }

  /** Gives up every session. */
  async close(): Promise<void> {
    const sessions = [...this.#sessions.values()];
    this.#sessions.clear();
    await Promise.all(sessions.map((session) => session.exclusively(() => session.cancel())));
  }

  async #forgetAbandoned(): Promise<void> {
    const oldest = Date.now() - sessionLifetime;
    for (const session of this.#sessions.values()) {
      if (session.touched >= oldest) continue;
      this.#sessions.delete(session.id);
      await session.exclusively(() => session.cancel());
    }
  }
}
