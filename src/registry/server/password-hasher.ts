import { Worker } from 'node:worker_threads';

/** A request to the thread: does this password match this bcrypt hash? */
export interface Comparison {
  readonly id: number;
  readonly password: string;
  readonly hash: string;
}

/** The thread's code: its source, or a bundle next to this file's. */
const workerFile = import.meta.url.endsWith('.ts') ? './password-worker.ts' : './password-worker.js';

/**
 * Compares passwords with bcrypt hashes in a separate thread, one after another: a hash in JavaScript takes
 * tenths of a second, which would block the event loop. The thread is started for the first password.
 */
export class PasswordHasher implements AsyncDisposable {
  #worker: Worker | undefined;
  #count = 0;
  readonly #waiting = new Map<number, PromiseWithResolvers<boolean>>();

  /** Tells whether a password matches a hash. @throws Error if the thread ends before it has responded */
  compare(password: string, hash: string): Promise<boolean> {
    this.#worker ??= this.#start();
    this.#count += 1;
    const comparison: Comparison = { id: this.#count, password, hash };
    const result = Promise.withResolvers<boolean>();
    this.#waiting.set(comparison.id, result);
    this.#worker.postMessage(comparison);
    return result.promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#worker?.terminate();
  }

  #start(): Worker {
    const worker = new Worker(new URL(workerFile, import.meta.url));
    worker.unref();
    worker.on('message', ({ id, matches }: { id: number; matches: boolean }) => {
      this.#waiting.get(id)?.resolve(matches);
      this.#waiting.delete(id);
    });
    worker.once('error', (error: Error) => this.#fail(error));
    worker.once('exit', () => this.#fail(new Error('the thread that compares passwords has ended')));
    return worker;
  }

  #fail(error: Error): void {
    this.#worker = undefined;
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}
