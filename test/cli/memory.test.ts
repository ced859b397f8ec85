import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { createGzip } from 'node:zlib';
import { expect, test } from 'vitest';
import { writeStoredLayout } from '../support/tar-layout.ts';
import { describeWith } from '../support/programs.ts';
import { useSigningBench } from '../support/signing.ts';
import { endOfArchive, entryBlocks, headerBlock, paxBlocks, withChecksum } from '../support/tar-blocks.ts';
import { runProgram } from './run-program.ts';

const bench = useSigningBench();
const megabyte = 1024 ** 2;
const maxPeak = 200 * megabyte;

/** Stores an image of one layer, compressed while it is made. */
async function storeImage(name: string, archive: Iterable<Buffer>): Promise<string> {
  const diffId = createHash('sha256');
  const chunks: Buffer[] = [];
  function* hashed() {
    for (const chunk of archive) {
      diffId.update(chunk);
      yield chunk;
    }
  }
  await pipeline(Readable.from(hashed()), createGzip({ level: 1 }), async (blob: AsyncIterable<Buffer>) => {
    for await (const chunk of blob) chunks.push(chunk);
  });
  const directory = join(bench.folder, name);
  const bytes = Buffer.concat(chunks);
  await writeStoredLayout(directory, [{ bytes, compression: 'gzip', diffId: diffId.digest('hex') }]);
  return `oci:${directory}:latest`;
}

function* attributes(name: (index: number) => string, type: string, content: Buffer): Generator<Buffer> {
  const value = Buffer.alloc(1_000_000, 'x');
  for (let index = 0; index < 300; index++) {
    yield paxBlocks({ 'SCHILY.xattr.user.x': value });
    yield entryBlocks({ name: name(index), type }, content);
  }
}

/** An archive of an entry and a million empty files. */
function* manyFiles(first: Buffer): Generator<Buffer> {
  yield first;
  const block = headerBlock({ name: 'f0000000' });
  for (let start = 0; start < 1_000_000; start += 1000) {
    const chunk = Buffer.alloc(512 * 1000);
    for (let index = 0; index < 1000; index++) {
      block.write(String(start + index).padStart(7, '0'), 1, 'latin1');
      withChecksum(block).copy(chunk, index * 512);
    }
    yield chunk;
  }
  yield endOfArchive;
}

function* deepPaths(): Generator<Buffer> {
  for (let index = 0; index < 500; index++) {
    yield paxBlocks({ path: `${index}/${'q/'.repeat(2000)}f` });
    yield entryBlocks({ name: 'x' });
  }
}

describeWith(['python3'], 'an image that is made to take memory', ({ python3 }) => {
  /** Runs the program, and gives what became of it with its peak of memory in bytes. */
  async function measure(args: readonly string[]) {
    const file = join(bench.folder, 'peak');
    const watch = fileURLToPath(new URL('../support/peak-memory.py', import.meta.url));
    const { exitCode, stdout, stderr } = await runProgram(args, { through: [python3, watch, file] });
    return { exitCode, stdout, stderr, peak: Number(await readFile(file, 'utf8')) * 1024 };
  }

  function verify(image: string) {
    return measure(['verify', image, '--cert', bench.key.certificate, '--format', 'json']);
  }

  test.each([
    ['directories', (index: number) => `d${index}/`, '5'],
    ['modules', (index: number) => `m${index}.ko`, '0'],
  ])(
    '300 %s with attributes of a megabyte are read in little memory',
    async (what, name, type) => {
      const content = type === '0' ? bench.hello : Buffer.alloc(0);
      const module = entryBlocks({ name: 'a.ko' }, bench.hello);
      const image = await storeImage(what, [module, ...attributes(name, type, content), endOfArchive]);
      const { exitCode, peak } = await verify(image);
      expect(exitCode).toBe(10);
      expect(peak).toBeLessThan(maxPeak);
      const signing = ['--key', bench.key.key, '--cert', bench.key.certificate];
      const signed = await measure([
        'sign',
        image,
        `oci:${bench.folder}/out:1`,
        '--mode',
        'append',
        ...signing,
      ]);
      expect(signed).toMatchObject({ exitCode: 12, stderr: expect.stringContaining('extended attributes') });
      expect(signed.peak).toBeLessThan(maxPeak);
    },
    120_000,
  );

  test('500 paths of 2000 parts are refused', async () => {
    const image = await storeImage('deep', [...deepPaths(), endOfArchive]);
    const { exitCode, stderr, peak } = await verify(image);
    expect({ exitCode, stderr }).toMatchObject({
      exitCode: 12,
      stderr: expect.stringContaining('more than 256 parts'),
    });
    expect(peak).toBeLessThan(maxPeak);
  }, 120_000);

  test('a million entries are read in little memory', async () => {
    const module = entryBlocks({ name: 'a.ko' }, bench.hello);
    const image = await storeImage('entries', manyFiles(module));
    const { exitCode, stdout, peak } = await verify(image);
    expect(exitCode).toBe(10);
    expect(JSON.parse(stdout)).toMatchObject({ platforms: [{ modules: [{ path: '/a.ko' }] }] });
    expect(peak).toBeLessThan(maxPeak);
  }, 240_000);
});
