import { Worker } from 'node:worker_threads';

/** What the thread is asked: does this password have this bcrypt hash? */
export interface Comparison {
  readonly id: number;
  readonly password: string;
  readonly hash: string;
}

/** Where the thread's code is: as source, or as a bundle besides that of this file. */
const workerFile = import.meta.url.endsWith('.ts') ? './password-worker.ts' : './password-worker.js';

/**
 * Compares passwords with bcrypt hashes in a thread of its own, one after the other: a hash in JavaScript takes
 * tenths of a second, during which an event loop would do nothing else. The thread starts with the first one.
 */
export class PasswordHasher implements AsyncDisposable {
  #worker: Worker | undefined;
  #count = 0;
  readonly #waiting = new Map<number, PromiseWithResolvers<boolean>>();

  /** Tells whether a password has a hash. @throws Error when the thread ends before it has answered */
  compare(password: string, hash: string): Promise<boolean> {
    this.#worker ??= this.#start();
    this.#count += 1;
    const comparison: Comparison = { id: this.#count, password, hash };
    const answer = Promise.withResolvers<boolean>();
    this.#waiting.set(comparison.id, answer);
    this.#worker.postMessage(comparison);
    return answer.promise;
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
