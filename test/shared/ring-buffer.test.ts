import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  createRingBuffer,
  readRingBuffer,
  type RingBuffer,
  RingWriter,
} from '../../src/shared/ring-buffer.ts';

const startReader = (ring: RingBuffer) =>
  new Worker(new URL('ring-reader.ts', import.meta.url), { workerData: ring });

/** Writes chunks, and returns what a thread read. */
async function passToThread(
  ring: RingBuffer,
  writer: RingWriter,
  chunks: readonly Buffer[],
): Promise<unknown> {
  const answer = once(startReader(ring), 'message');
  for (const chunk of chunks) await writer.write(chunk);
  writer.end();
  return ((await answer) as [unknown])[0];
}

const summary = (bytes: Buffer) => ({
  digest: createHash('sha256').update(bytes).digest('hex'),
  length: bytes.length,
});

/** Returns the bytes that are present, read in this thread. */
const present = (ring: RingBuffer) =>
  Buffer.concat([...readRingBuffer(ring)].map((chunk) => Buffer.from(chunk.toString('hex'), 'hex')));

describe('a ring buffer', () => {
  test('passes every byte to another thread, in order, however the writer cuts them', async () => {
    const sizes = fc.array(fc.nat(200_000), { maxLength: 20 });
    await fc.assert(
      fc.asyncProperty(sizes, async (lengths) => {
        const chunks = lengths.map((length) => randomBytes(length));
        const ring = createRingBuffer(64 * 1024);
        const read = await passToThread(ring, new RingWriter(ring), chunks);
        expect(read).toEqual(summary(Buffer.concat(chunks)));
      }),
      { numRuns: 10 },
    );
  });

  test('goes on when the count of its bytes passes 2^31 and 2^32', async () => {
    for (const near of [2 ** 31, 2 ** 32]) {
      const ring = createRingBuffer(64 * 1024);
      const writer = new RingWriter(ring);
      ring.state[0] = near - 100_000;
      ring.state[1] = near - 100_000;
      const bytes = randomBytes(300_000);
      expect(await passToThread(ring, writer, [bytes])).toEqual(summary(bytes));
    }
  });

  test('holds what was written before the end, and is empty for the next writer', async () => {
    const ring = createRingBuffer(1024);
    const writer = new RingWriter(ring);
    expect(await writer.write(Buffer.from('first'))).toBe(true);
    writer.end();
    expect(present(ring).toString()).toBe('first');
    const next = new RingWriter(ring);
    await next.write(Buffer.from('second'));
    next.end();
    expect(present(ring).toString()).toBe('second');
  });

  test('lets a writer go that waits for room when nobody will read any more', async () => {
    const writer = new RingWriter(createRingBuffer(1024));
    const writing = writer.write(Buffer.alloc(5000));
    // Keeps the process alive, as the thread that reads does otherwise.
    const other = setInterval(() => {}, 1000);
    writer.abandon();
    expect(await writing).toBe(false);
    clearInterval(other);
  });
});
