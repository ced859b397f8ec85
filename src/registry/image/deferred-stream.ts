import { PassThrough, type Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

/** Bytes that are read ahead of the consumer. */
const highWaterMark = 1024 * 1024;

/** A stream that can be given away before it has been opened. */
export function deferredStream(open: () => Promise<Readable>): Readable {
  const stream = new PassThrough({ highWaterMark });
  void connect(open, stream);
  return stream;
}

async function connect(open: () => Promise<Readable>, stream: PassThrough): Promise<void> {
  try {
    await pipeline(await open(), stream);
  } catch (error) {
    stream.destroy(
      error instanceof Error ? error : new Error('the stream cannot be opened', { cause: error }),
    );
  }
}
