import { Readable } from 'node:stream';
import type { HttpResponse } from './transport.ts';

/** Bytes that are read ahead of the consumer. */
const readAhead = 256 * 1024;
/** What of a response that nobody wants is read so that its connection can be used again. */
const maxDrainedBytes = 64 * 1024;

export interface ResponseBodyOptions {
  /** Makes the error that the consumer sees. */
  readonly convert: (error: unknown) => Error;
  /** Milliseconds that the server may keep a waiting consumer without a byte. */
  readonly idleTimeout: number;
}

/**
 * Hands on the bytes of a stream under errors of our own making. (Replacing an error in a `destroy` hook
 * would not do: the original one stays visible in `errored`.) The time that the consumer itself takes
 * does not count as idle.
 */
export class ResponseBody extends Readable {
  readonly #source: Readable;
  readonly #idle: NodeJS.Timeout;

  constructor(source: Readable, { convert, idleTimeout }: ResponseBodyOptions) {
    super({ highWaterMark: readAhead });
    this.#source = source;
    this.#idle = setTimeout(() => {
      if (!this.#isFull()) this.destroy(convert({ code: 'ETIMEDOUT' }));
    }, idleTimeout).unref();
    // Chunk by chunk as they came: what is read out of a stream's buffer is joined by copying.
    source.on('data', (chunk: Buffer) => {
      this.#idle.refresh();
      if (!this.push(chunk)) source.pause();
    });
    source.once('end', () => {
      clearTimeout(this.#idle);
      this.push(null);
    });
    source.on('error', (error) => this.destroy(convert(error)));
    source.once('close', () => {
      if (!source.readableEnded) this.destroy(convert({ code: 'ECONNRESET' }));
    });
  }

  #isFull(): boolean {
    return this.readableLength >= this.readableHighWaterMark;
  }

  override _read(): void {
    this.#idle.refresh();
    this.#source.resume();
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    clearTimeout(this.#idle);
    this.#source.destroy();
    callback(error);
  }
}

/** Reads at most `limit` bytes of a body; what lies beyond is cut off. */
export async function readAtMost(
  body: Readable,
  limit: number,
): Promise<{ bytes: Buffer; complete: boolean }> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of body) {
    chunks.push(chunk);
    size += chunk.length;
    if (size > limit) return { bytes: Buffer.concat(chunks).subarray(0, limit), complete: false };
  }
  return { bytes: Buffer.concat(chunks), complete: true };
}

/** Gets rid of a response that is not needed, keeping the connection where that is cheap. */
export async function discardBody(response: HttpResponse): Promise<void> {
  try {
    await readAtMost(response.body, maxDrainedBytes);
  } catch {
    // The response was not wanted; its end is of no interest either.
  }
  response.body.destroy();
}
