import { Readable } from 'node:stream';
import type { HttpResponse } from './transport.ts';

/** Bytes read ahead of the consumer. */
const readAhead = 256 * 1024;
/** Bytes of an unwanted response that are read so that its connection can be reused. */
const maxDrainedBytes = 64 * 1024;

/**
 * Passes on the bytes of a stream, with our own errors. (Replacing an error in a `destroy` hook would not
 * suffice: the original remains visible in `errored`.) The time that the consumer itself takes does not count
 * as idle.
 */
export class ResponseBody extends Readable {
  readonly #source: Readable;
  readonly #idle: NodeJS.Timeout;

  /**
   * @param convert builds the error that the consumer sees
   * @param idleTimeout milliseconds that a waiting consumer may go without a byte from the server
   */
  constructor(source: Readable, convert: (error: unknown) => Error, idleTimeout: number) {
    super({ highWaterMark: readAhead });
    this.#source = source;
    this.#idle = setTimeout(() => {
      if (!this.#isFull()) this.destroy(convert({ code: 'ETIMEDOUT' }));
    }, idleTimeout).unref();
    // Chunk by chunk as they arrive: reading from the stream's buffer would copy to join them.
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

/** Reads at most `limit` bytes of a body and cuts off the rest. */
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

/** Discards a response that is not needed, keeping the connection if that is cheap. */
export async function discardBody(response: HttpResponse): Promise<void> {
  try {
    await readAtMost(response.body, maxDrainedBytes);
  } catch {
    // The response is not needed, so neither is its error.
  }
  response.body.destroy();
}
