import { constants, type KeyObject, privateEncrypt } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { setImmediate } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { SignerError } from '../errors.ts';

/** So many waiting signatures pay for starting a thread (some 30 ms of work). */
const queueWorthThread = 64;
const maxThreads = 3;
/** Signatures that a thread has at hand, so that it never waits for the next one. */
const atHand = 4;

interface Task {
  readonly input: Buffer;
  readonly resolve: (signature: Buffer) => void;
  readonly reject: (error: unknown) => void;
}

// Plain text, so that it works from a bundle of one file too.
const threadSource = `
const { privateEncrypt } = require('node:crypto');
const { parentPort, workerData } = require('node:worker_threads');
parentPort.on('message', (input) => {
  parentPort.postMessage(privateEncrypt({ key: workerData.key, padding: workerData.padding }, input));
});
`;

/**
 * Signs with an RSA key (PKCS #1 v1.5 over a ready DigestInfo): here while there is little to do, in threads
 * besides when there is much, since node:crypto can only do this synchronously.
 */
export class RsaPool {
  readonly #key: KeyObject;
  readonly #queue: Task[] = [];
  #threads = 0;
  #drains = false;

  constructor(key: KeyObject) {
    this.#key = key;
  }

  /** Signs a DigestInfo. */
  sign(input: Buffer): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      this.#queue.push({ input, resolve, reject });
      if (!this.#drains) void this.#drain();
      this.#startThreads();
    });
  }

  async #drain(): Promise<void> {
    this.#drains = true;
    // Callers that ask for many at once have asked for all of them after this, and other work goes on between.
    await setImmediate();
    for (let task = this.#queue.shift(); task !== undefined; task = this.#queue.shift()) {
      this.#signHere(task);
      await setImmediate();
    }
    this.#drains = false;
  }

  #signHere({ input, resolve, reject }: Task): void {
    try {
      resolve(privateEncrypt({ key: this.#key, padding: constants.RSA_PKCS1_PADDING }, input));
    } catch {
      reject(
        new SignerError({
          code: 'INVALID_KEY',
          message: 'The RSA key cannot sign a digest of this length',
          hint: 'Use an RSA key of 2048 to 4096 bits.',
        }),
      );
    }
  }

  #startThreads(): void {
    const wanted = Math.min(
      availableParallelism() - 1,
      maxThreads,
      Math.floor(this.#queue.length / queueWorthThread),
    );
    while (this.#threads < wanted) this.#startThread();
  }

  #startThread(): void {
    this.#threads += 1;
    const workerData = { key: this.#key, padding: constants.RSA_PKCS1_PADDING };
    const thread = new Worker(threadSource, { eval: true, workerData, env: {} });
    const tasks: Task[] = [];
    const feed = (): void => {
      while (tasks.length < atHand) {
        const task = this.#queue.shift();
        if (task === undefined) break;
        tasks.push(task);
        thread.postMessage(task.input, []);
      }
      if (tasks.length === 0) void thread.terminate();
    };
    thread.on('online', feed);
    thread.on('message', (signature: Uint8Array) => {
      tasks.shift()?.resolve(Buffer.from(signature.buffer, signature.byteOffset, signature.byteLength));
      feed();
    });
    // A thread that cannot go on leaves its work to this one, which gives the error its proper form.
    thread.on('error', () => {
      for (const task of tasks.splice(0)) this.#signHere(task);
    });
    thread.on('exit', () => {
      this.#threads -= 1;
      for (const task of tasks.splice(0)) this.#signHere(task);
    });
  }
}
