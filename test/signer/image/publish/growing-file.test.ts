import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { copyOf, type LentChunks } from '../../../../src/shared/chunks.ts';
import { createTemporaryFile, type TemporaryFile } from '../../../../src/shared/temporary.ts';
import { GrowingFile } from '../../../../src/signer/image/publish/growing-file.ts';

/** The bytes of a stream whose chunks are lent. */
async function readAll(chunks: LentChunks): Promise<Buffer> {
  const copies: Buffer[] = [];
  for await (const chunk of chunks) copies.push(copyOf(chunk));
  return Buffer.concat(copies);
}

describe('GrowingFile', () => {
  let file: TemporaryFile;
  let growing: GrowingFile;

  beforeEach(async () => {
    file = await createTemporaryFile();
    growing = new GrowingFile(file.handle);
  });
  afterEach(() => file[Symbol.asyncDispose]());

  async function write(text: string): Promise<void> {
    await file.handle.write(text);
    growing.grow(text.length);
  }

  it('is read as it is written, to its end', async () => {
    const chunks = growing.chunks();
    const first = chunks.next();
    await write('abc');
    expect(String((await first).value)).toBe('abc');
    await write('d');
    await write('ef');
    growing.end();
    expect(await readAll(chunks)).toEqual(Buffer.from('def'));
  });

  it('is read from its start by each reader, also one that begins late', async () => {
    const early = readAll(growing.chunks());
    const large = 'x'.repeat(3_000_000);
    await write(large);
    await write('y');
    growing.end();
    const late = readAll(growing.chunks());
    for (const bytes of [await early, await late]) expect(bytes.equals(Buffer.from(`${large}y`))).toBe(true);
  });

  it('may be empty', async () => {
    const reading = readAll(growing.chunks());
    growing.end();
    expect(await reading).toHaveLength(0);
  });

  it('fails its readers as the writer failed', async () => {
    const reading = readAll(growing.chunks());
    await write('abc');
    growing.fail(new Error('no space left'));
    await expect(reading).rejects.toThrow('no space left');
    await expect(readAll(growing.chunks())).rejects.toThrow('no space left');
  });
});
