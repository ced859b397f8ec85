import { createHash } from 'node:crypto';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { afterAll, describe, expect, test } from 'vitest';
import {
  asBytes,
  chunkPieces,
  copyOf,
  joinChunks,
  lendChunks,
  type LentChunk,
  type LentChunks,
  queuedChunks,
  updateHash,
  writeChunk,
  writeChunkSync,
} from '../../src/shared/chunks.ts';

const directory = mkdtempSync(join(tmpdir(), 'chunks-'));
afterAll(() => rmSync(directory, { recursive: true }));

const texts = ['one', 'two', 'six'];

/** Yields chunks in the same memory, as the producers of lent chunks do. */
async function* lend(): AsyncGenerator<LentChunk> {
  const memory = Buffer.alloc(3);
  for (const text of texts) {
    memory.write(text);
    yield memory;
    memory.fill('-');
  }
}

describe('a lent chunk', () => {
  test('is copied to be kept', async () => {
    const copies: Buffer[] = [];
    for await (const chunk of lend()) copies.push(copyOf(chunk));
    expect(copies.map(String)).toEqual(texts);
  });

  test('is joined with others into new memory', () => {
    const memory = Buffer.from('one');
    const joined = joinChunks([memory, memory.subarray(0, 1)]);
    memory.fill('-');
    expect(joined.toString()).toBe('oneo');
  });

  test('is hashed and written at once', async () => {
    const hash = createHash('sha256');
    const [sequential, positioned] = [join(directory, 'sequential'), join(directory, 'positioned')];
    const file = await open(sequential, 'w');
    const descriptor = openSync(positioned, 'w');
    let position = 0;
    for await (const chunk of lend()) {
      updateHash(hash, chunk);
      await writeChunk(file, chunk);
      writeChunkSync(descriptor, chunk, position);
      position += chunk.length;
    }
    await file.close();
    closeSync(descriptor);
    expect(readFileSync(sequential, 'utf8')).toBe('onetwosix');
    expect(readFileSync(positioned, 'utf8')).toBe('onetwosix');
    expect(hash.digest('hex')).toBe(createHash('sha256').update('onetwosix').digest('hex'));
  });

  test('is passed unchanged to a function that uses each chunk before the next', async () => {
    const path = join(directory, 'written');
    const file = await open(path, 'w');
    await file.writeFile(asBytes(lend()));
    await file.close();
    expect(readFileSync(path, 'utf8')).toBe('onetwosix');
  });
});

/** Never called: the compiler is what judges these lines, and fails where one of them compiles. */
export async function keepWithoutCopying(source: LentChunks): Promise<void> {
  const kept: Buffer[] = [];
  const bytes: Uint8Array[] = [];
  for await (const chunk of source) {
    // @ts-expect-error A lent chunk is not a Buffer that could be kept.
    kept.push(chunk);
    // @ts-expect-error Nor is a part of it.
    kept.push(chunk.subarray(1));
    // @ts-expect-error It is not a Uint8Array either.
    bytes.push(chunk);
    // @ts-expect-error Its memory is out of reach.
    bytes.push(new Uint8Array(chunk.buffer));
    kept.push(copyOf(chunk));
  }
  // @ts-expect-error A stream of lent chunks is not a stream of Buffers.
  const stream: AsyncIterable<Buffer> = source;
  await Array.fromAsync(stream);
}

test('a stream is cut into pieces of one size, whatever its chunks', async () => {
  const pieces: string[] = [];
  for await (const { bytes, last, release } of chunkPieces(lend(), 4)) {
    pieces.push(`${bytes.toString()}${last ? '' : '+'}`);
    release();
  }
  expect(pieces).toEqual(['onet+', 'wosi+', 'x']);
});

test('a stream without bytes is one empty piece', async () => {
  const pieces: unknown[] = [];
  for await (const { bytes, last } of chunkPieces(asyncEmpty(), 4)) pieces.push([bytes.length, last]);
  expect(pieces).toEqual([[0, true]]);
});

async function* asyncEmpty(): AsyncGenerator<LentChunk> {}

test('a stream whose chunks are no longer wanted can be read to its end by others', async () => {
  const stream = Readable.from(Array.from({ length: 8 }, () => Buffer.alloc(500_000)));
  for await (const chunk of queuedChunks(stream)) {
    expect(chunk).toHaveLength(500_000);
    break;
  }
  stream.resume();
  await finished(stream);
  expect(stream.readableEnded).toBe(true);
});

test.each([16 * 1024, 64 * 1024])(
  'a chunk of %i bytes, as a connection delivers, is freed when the next is requested',
  async (size) => {
    const first = Buffer.allocUnsafeSlow(size);
    const chunks = lendChunks(Readable.from([first, Buffer.from('next')]));
    await chunks.next();
    expect(first.buffer.byteLength).toBe(size);
    await chunks.next();
    expect(first.buffer.byteLength).toBe(0);
  },
);

test('a part of a larger buffer is not freed', async () => {
  const whole = Buffer.allocUnsafeSlow(64 * 1024);
  const parts = [whole.subarray(0, 16 * 1024), whole.subarray(16 * 1024)];
  for await (const chunk of lendChunks(Readable.from(parts))) void chunk;
  expect(whole.buffer.byteLength).toBe(64 * 1024);
});
