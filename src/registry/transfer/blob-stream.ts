import { createHash, type Hash } from 'node:crypto';
import { Readable } from 'node:stream';
import { digestAlgorithm, digestHex } from '../model/digest.ts';
import { RegistryError } from '../model/errors.ts';
import type { Descriptor } from '../model/manifest.ts';
import { backOff, isTransient, type RetryListener } from './retry.ts';

/**
 * Bytes buffered before the source is paused. The consumer gets them in one piece, since each chunk wakes a
 * thread.
 */
const highWaterMark = 256 * 1024;

/** Bytes that a connection must deliver to count as progress. */
const minProgress = 1024 * 1024;

/** The most new connections in a row without progress. */
const maxFutileAttempts = 5;

/** The bytes of a blob from a position to its end. */
export interface BlobSource {
  readonly body: Readable;
  /** Position of the first byte: the requested one, or 0 if the server cannot resume. */
  readonly start: number;
}

/** How a blob is read. */
export interface BlobStreamOptions {
  readonly descriptor: Descriptor;
  /** Where the blob is, for messages. */
  readonly place: string;
  /** Opens the blob at a position. The signal is aborted when the stream is closed. */
  readonly open: (start: number, signal: AbortSignal) => Promise<BlobSource>;
  /** Whether to reopen a source that ends early, at the position where it ended. @default true */
  readonly resumes?: boolean | undefined;
  /** Milliseconds to wait before the first reopening without progress. @default 0 */
  readonly retryDelay?: number | undefined;
  /** Called when the blob is reopened after a wait. */
  readonly onRetry?: RetryListener | undefined;
  /** Called for all bytes received. */
  readonly onBytes?: ((count: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * A blob that is verified while it streams. It emits `end` only if all bytes arrived and the digest matches.
 * If a connection breaks, it resumes where it left off.
 */
export class BlobStream extends Readable {
  readonly #options: BlobStreamOptions;
  readonly #hash: Hash;
  readonly #closed = new AbortController();
  #body: Readable | undefined;
  /** Bytes delivered. */
  #position = 0;
  /** Bytes of the current connection that were delivered before. */
  #skip = 0;
  #progress = 0;
  #futileAttempts = 0;

  private constructor(options: BlobStreamOptions) {
    super({ highWaterMark });
    this.#options = options;
    this.#hash = createHash(digestAlgorithm(options.descriptor.digest));
    options.signal?.addEventListener('abort', this.#abort, { once: true });
  }

  /** Opens a blob; rejects if the first connection fails. @throws RegistryError what `open` throws */
  static async open(options: BlobStreamOptions): Promise<BlobStream> {
    options.signal?.throwIfAborted();
    const stream = new BlobStream(options);
    // The signal may end the stream before anyone listens; a later reader still sees the error.
    stream.on('error', () => {});
    try {
      await stream.#connect();
      options.signal?.throwIfAborted();
    } catch (error) {
      stream.destroy();
      throw error;
    }
    return stream;
  }

  override _read(): void {
    this.#body?.resume();
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#options.signal?.removeEventListener('abort', this.#abort);
    this.#closed.abort();
    this.#dropBody();
    callback(error);
  }

  readonly #abort = (): void => {
    const reason: unknown = this.#options.signal?.reason;
    this.destroy(reason instanceof Error ? reason : new Error('aborted', { cause: reason }));
  };

  async #connect(): Promise<void> {
    const { body, start } = await this.#options.open(this.#position, this.#closed.signal);
    if (this.destroyed) {
      body.on('error', () => {}).destroy();
      return;
    }
    this.#skip = this.#position - start;
    this.#progress = 0;
    this.#body = body;
    body.on('data', (chunk: Buffer) => {
      this.#take(chunk);
    });
    body.once('end', () => {
      this.#finish(body, undefined);
    });
    body.once('error', (error) => {
      this.#finish(body, error);
    });
    body.once('close', () => {
      this.#finish(body, undefined);
    });
  }

  #take(received: Buffer): void {
    this.#options.onBytes?.(received.length);
    const skipped = Math.min(this.#skip, received.length);
    this.#skip -= skipped;
    const chunk = skipped === 0 ? received : received.subarray(skipped);
    if (chunk.length === 0) return;
    this.#position += chunk.length;
    this.#progress += chunk.length;
    if (this.#position > this.#options.descriptor.size) {
      this.#fail('has more bytes than its descriptor promises');
      return;
    }
    this.#hash.update(chunk);
    if (!this.push(chunk)) this.#body?.pause();
  }

  /** Handles the end of the source, whichever event reports it first. */
  #finish(body: Readable, error: Error | undefined): void {
    if (body !== this.#body || this.destroyed) return;
    this.#dropBody();
    if (this.#position === this.#options.descriptor.size) this.#verify();
    else if (error !== undefined && !isTransient(error)) this.destroy(error);
    else if (this.#options.resumes === false) this.#fail('has fewer bytes than its descriptor promises');
    else void this.#resume(error);
  }

  #verify(): void {
    if (this.#hash.digest('hex') === digestHex(this.#options.descriptor.digest)) this.push(null);
    else this.#fail('does not match its digest');
  }

  async #resume(error: Error | undefined): Promise<void> {
    let cause: unknown = error;
    while (!this.destroyed) {
      this.#futileAttempts = this.#progress >= minProgress ? 0 : this.#futileAttempts + 1;
      if (this.#futileAttempts > maxFutileAttempts) {
        this.destroy(this.#interrupted(cause));
        return;
      }
      try {
        if (this.#futileAttempts > 0) await this.#backOff(cause);
        await this.#connect();
        return;
      } catch (reason) {
        this.#progress = 0;
        cause = reason;
        if (!isTransient(reason))
          this.destroy(reason instanceof Error ? reason : this.#interrupted(undefined));
      }
    }
  }

  #backOff(error: unknown): Promise<void> {
    const { retryDelay = 0, onRetry = () => {} } = this.#options;
    return backOff({
      attempt: this.#futileAttempts,
      delay: retryDelay,
      signal: this.#closed.signal,
      error,
      onRetry,
    });
  }

  #dropBody(): void {
    const body = this.#body;
    this.#body = undefined;
    body?.removeAllListeners('data');
    body?.on('error', () => {}).destroy();
  }

  #fail(problem: string): void {
    const { descriptor, place } = this.#options;
    this.destroy(digestMismatch(descriptor, place, problem));
  }

  #interrupted(cause: unknown): RegistryError {
    if (cause instanceof RegistryError) return cause;
    const { descriptor, place } = this.#options;
    return new RegistryError({
      code: 'NETWORK',
      message: `the blob ${descriptor.digest} of ${place} was repeatedly cut short after ${this.#position} of ${descriptor.size} bytes`,
      hint: 'Try again; if the error persists, the registry or a proxy in front of it cuts downloads short.',
      facts: { digest: descriptor.digest, repository: place },
    });
  }
}

/** Builds the error for bytes that do not match the descriptor. */
export function digestMismatch(descriptor: Descriptor, place: string, problem: string): RegistryError {
  return new RegistryError({
    code: 'DIGEST_MISMATCH',
    message: `the blob ${descriptor.digest} of ${place} ${problem}`,
    hint: 'The stored image is damaged or was tampered with; push it again from its source.',
    facts: { digest: descriptor.digest, repository: place },
  });
}
