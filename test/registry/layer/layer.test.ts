import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { type FileHandle, open, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { gunzipSync, gzipSync, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { describe, expect, test, vi } from 'vitest';
import { decompressLayer, detectCompression } from '../../../src/registry/layer/decompress.ts';
import { defaultLayerLimits } from '../../../src/registry/layer/layer-source.ts';
import { Overlay } from '../../../src/registry/layer/overlay.ts';
import { scanLayer } from '../../../src/registry/layer/scan-layer.ts';
import {
  type CompressionOptions,
  compressLayer,
  writeLayer,
} from '../../../src/registry/layer/write-layer.ts';
import type { Digest } from '../../../src/registry/model/digest.ts';
import { RegistryError } from '../../../src/registry/model/errors.ts';
import type { LentChunk, LentChunks } from '../../../src/shared/chunks.ts';
import { createTemporaryDirectory } from '../../../src/shared/temporary.ts';
import { describeWith, requireProgram } from '../../support/programs.ts';
import { collect, endOfArchive, entryBlocks, inChunks } from '../../support/tar-blocks.ts';

const limits = defaultLayerLimits;
const mixed = Buffer.concat([
  randomBytes(1_500_000),
  Buffer.alloc(2_000_000, 'text that repeats '),
  randomBytes(70_000),
]);
const sha256 = (bytes: Buffer) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

async function unpack(source: AsyncIterable<Buffer>, maxUncompressedBytes = 1e9): Promise<Buffer> {
  const { tar } = await decompressLayer(source, { limits: { maxUncompressedBytes } });
  return collect(tar);
}

/** A blob that ends with the error that a download gives when its digest is wrong. */
async function* withWrongDigest(bytes: Buffer): AsyncGenerator<Buffer> {
  yield* inChunks(bytes, 10_000);
  throw new RegistryError({ code: 'DIGEST_MISMATCH', message: 'another digest than promised' });
}

function pack(bytes: Buffer, options: CompressionOptions, chunkSize?: number): Promise<Buffer> {
  return collect(compressLayer(inChunks(bytes, chunkSize), options));
}

function decode(program: string, input: Buffer): Buffer {
  return execFileSync(program, ['-dc'], { input, maxBuffer: 1e9, stdio: ['pipe', 'pipe', 'ignore'] });
}

describe('unpacking a layer', () => {
  test.each([
    ['gzip', gzipSync(mixed)],
    [
      'gzip of several members',
      Buffer.concat([gzipSync(mixed.subarray(0, 999)), gzipSync(mixed.subarray(999))]),
    ],
    ['zstd', zstdCompressSync(mixed)],
    [
      'zstd of several frames',
      Buffer.concat([zstdCompressSync(mixed.subarray(0, 9)), zstdCompressSync(mixed.subarray(9))]),
    ],
    [
      'zstd behind a skippable frame',
      Buffer.concat([Buffer.from('502a4d1804000000aabbccdd', 'hex'), zstdCompressSync(mixed)]),
    ],
    ['no compression', mixed],
  ])('%s, in chunks of any size', async (_, blob) => {
    for (const size of [999, 65_536, 10_000_000]) {
      expect((await unpack(inChunks(blob, size))).equals(mixed)).toBe(true);
    }
  });

  test('tells the compression by the first bytes', () => {
    expect(detectCompression(gzipSync(''))).toBe('gzip');
    expect(detectCompression(zstdCompressSync(Buffer.alloc(0)))).toBe('zstd');
    expect(detectCompression(Buffer.from('1f8b07', 'hex'))).toBe('none');
    expect(detectCompression(Buffer.from('some tar'))).toBe('none');
    expect(detectCompression(Buffer.alloc(0))).toBe('none');
  });

  test.each([
    ['cut short', gzipSync(mixed).subarray(0, 100_000)],
    ['damaged', Buffer.concat([gzipSync(mixed).subarray(0, 5000), Buffer.alloc(9000, 'x')])],
    ['with a wrong checksum', Buffer.concat([gzipSync(mixed).subarray(0, -8), Buffer.alloc(8)])],
    ['followed by rubbish', Buffer.concat([gzipSync(mixed), Buffer.from('rubbish')])],
    ['followed by zeros', Buffer.concat([gzipSync(mixed), Buffer.alloc(100_000)])],
    ['of zstd, cut short', zstdCompressSync(mixed).subarray(0, 100_000)],
    [
      'of zstd, followed by rubbish',
      Buffer.concat([zstdCompressSync(mixed), Buffer.from('rubbish that is no frame')]),
    ],
  ])('data %s is refused', async (_, blob) => {
    for (const size of [7777, 10_000_000]) {
      await expect(unpack(inChunks(blob, size))).rejects.toMatchObject({ code: 'INVALID_LAYER' });
    }
  });

  test.each([
    ['xz', ['-0', '-c']],
    ['bzip2', ['-c']],
  ] as const)('%s is said not to be supported', async (name, args) => {
    const blob = execFileSync(requireProgram(name), args, { input: mixed, maxBuffer: 1e8 });
    const empty = execFileSync(requireProgram(name), args, { input: '' });
    for (const bytes of [blob, empty]) {
      await expect(unpack(inChunks(bytes, 7))).rejects.toMatchObject({
        code: 'UNSUPPORTED_MEDIA_TYPE',
        message: expect.stringContaining(name),
      });
    }
    await expect(unpack(withWrongDigest(blob))).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
  });

  test('a zstd window over 128 MiB is a limit, and one of 128 MiB is none', async () => {
    const zstd = (long: number) =>
      execFileSync(requireProgram('zstd'), ['-c', '-1', `--long=${long}`], { input: mixed, maxBuffer: 1e8 });
    expect((await unpack(inChunks(zstd(27)))).equals(mixed)).toBe(true);
    await expect(unpack(inChunks(zstd(28)))).rejects.toMatchObject({
      code: 'LIMIT_EXCEEDED',
      message: expect.stringContaining('128 MiB'),
    });
  });

  test.each([
    ['sound', gzipSync(mixed)],
    ['damaged', Buffer.concat([gzipSync(mixed).subarray(0, 5000), Buffer.alloc(90_000, 'x')])],
    ['followed by rubbish', Buffer.concat([gzipSync(mixed), Buffer.alloc(90_000, 'x')])],
    ['uncompressed', mixed],
  ])('a wrong digest is the error, also when the data is %s', async (_, blob) => {
    await expect(unpack(withWrongDigest(blob))).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
  });

  test.each([
    ['gzip', gzipSync(Buffer.alloc(50_000_000))],
    ['zstd', zstdCompressSync(Buffer.alloc(50_000_000))],
    ['none', Buffer.alloc(2_000_000)],
  ])('a bomb (%s) is refused at its limit', async (_, blob) => {
    await expect(unpack(inChunks(blob), 1_000_000)).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' });
  });

  test.each(['gzip', 'none'])('leaving early destroys a source that never ends (%s)', async (compression) => {
    const first = compression === 'gzip' ? gzipSync(mixed) : mixed;
    const source = new Readable({ read() {} });
    source.push(first.subarray(0, 1_000_000));
    const { tar } = await decompressLayer(source, { limits });
    for await (const chunk of tar) {
      expect(chunk.length).toBeGreaterThan(0);
      break;
    }
    expect(source.destroyed).toBe(true);
  });
});

/** What is left of each chunk when all have been read. */
async function leftOver(source: LentChunks): Promise<number[]> {
  const chunks: LentChunk[] = [];
  for await (const chunk of source) chunks.push(chunk);
  return chunks.map(({ length }) => length);
}

describe('the memory of a chunk', () => {
  test.each([
    ['gzip', gzipSync(mixed)],
    ['zstd', zstdCompressSync(mixed)],
  ])('is released when the next is requested (unpacking %s)', async (_, blob) => {
    const { tar } = await decompressLayer(inChunks(blob), { limits: { maxUncompressedBytes: 1e9 } });
    const left = await leftOver(tar);
    expect(left[0]).toBe(0);
    const lastBuffer = 512 * 1024;
    expect(left.reduce((sum, length) => sum + length)).toBeLessThanOrEqual(lastBuffer);
  });

  test('is released when the next is requested (packing gzip)', async () => {
    const [header, ...left] = await leftOver(compressLayer(inChunks(mixed), { compression: 'gzip' }));
    const trailer = left.pop();
    expect([header, trailer]).toEqual([10, 8]);
    expect(left.length).toBeGreaterThan(2);
    expect(left.every((length) => length === 0)).toBe(true);
  });
});

describe('packing a layer', () => {
  test.each([0, 1, 1024 * 1024 - 1, 1024 * 1024, 1024 * 1024 + 1, mixed.length])(
    'gzip of %i bytes is one member that unpacks again',
    async (size) => {
      const bytes = mixed.subarray(0, size);
      const blob = await pack(bytes, { compression: 'gzip', level: 1 });
      expect(gunzipSync(blob).equals(bytes)).toBe(true);
      expect(blob.readUInt32LE(4)).toBe(0);
      expect(blob.readUInt32LE(blob.length - 4)).toBe(size);
    },
  );

  test('the bytes do not depend on the chunks in which the tar comes', async () => {
    const options = { compression: 'gzip', level: 6 } as const;
    const whole = await pack(mixed, options, 10_000_000);
    expect((await pack(mixed, options, 1234)).equals(whole)).toBe(true);
    expect(whole.length).toBeLessThan(gzipSync(mixed, { level: 6 }).length * 1.002);
  });

  test('zstd unpacks again and has a checksum', async () => {
    const blob = await pack(mixed, { compression: 'zstd' });
    expect(zstdDecompressSync(blob).equals(mixed)).toBe(true);
    expect((blob[4] ?? 0) & 0b100).not.toBe(0);
  });

  describeWith(['gzip', 'zstd'], 'for other programs', ({ gzip, zstd }) => {
    test('gives what they accept', async () => {
      expect(decode(gzip, await pack(mixed, { compression: 'gzip' })).equals(mixed)).toBe(true);
      expect(decode(zstd, await pack(mixed, { compression: 'zstd' })).equals(mixed)).toBe(true);
    });
  });

  test.each(['gzip', 'zstd', 'none'] as const)('an error of the tar comes out (%s)', async (compression) => {
    const output = compressLayer(withWrongDigest(mixed), { compression });
    await expect(collect(output)).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
  });
});

describe('writing a layer', () => {
  test.each(['gzip', 'zstd', 'none'] as const)(
    'gives digest, size and diff ID of what is in the file (%s)',
    async (compression) => {
      await using directory = await createTemporaryDirectory();
      const file = join(directory.path, 'layer');
      const written = await writeLayer({ tar: inChunks(mixed), compression, file });
      const blob = await readFile(file);
      expect(written).toEqual({
        file,
        digest: sha256(blob),
        size: blob.length,
        diffId: sha256(mixed),
        uncompressedSize: mixed.length,
      });
    },
  );

  test('writes what is left when the system takes a part of a chunk only', async () => {
    await using directory = await createTemporaryDirectory();
    const file = join(directory.path, 'layer');
    const handle = await open(file, 'w');
    const prototype = Object.getPrototypeOf(handle) as Pick<FileHandle, 'write'>;
    await handle.close();
    const write = prototype.write as (bytes: Buffer, offset: number, length: number) => Promise<unknown>;
    // No file system can be made to do this at will and to take the rest then.
    const partial = vi.spyOn(prototype, 'write').mockImplementation(function (
      this: FileHandle,
      bytes: Buffer,
      offset = 0,
    ) {
      return write.call(this, bytes, offset, Math.min(30_000, bytes.length - offset));
    } as typeof prototype.write);
    try {
      await writeLayer({ tar: inChunks(mixed, 100_000), compression: 'none', file });
    } finally {
      partial.mockRestore();
    }
    expect((await readFile(file)).equals(mixed)).toBe(true);
  });

  test('lets nobody else read the file', async () => {
    await using directory = await createTemporaryDirectory();
    const file = join(directory.path, 'layer');
    const umask = process.umask(0);
    try {
      await writeLayer({ tar: inChunks(mixed), compression: 'none', file });
    } finally {
      process.umask(umask);
    }
    expect((await stat(file)).mode & 0o777).toBe(0o600);
  });

  test('leaves nothing behind when the tar fails', async () => {
    await using directory = await createTemporaryDirectory();
    const file = join(directory.path, 'layer');
    const writing = writeLayer({ tar: withWrongDigest(mixed), compression: 'none', file });
    await expect(writing).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
    expect((await stat(file)).size).toBe(0);
  });

  test.skipIf(process.platform !== 'linux')('fails cleanly on a full disk [needs /dev/full]', async () => {
    let ended = false;
    async function* endless() {
      try {
        for (;;) yield randomBytes(100_000);
      } finally {
        ended = true;
      }
    }
    const writing = writeLayer({ tar: endless(), compression: 'gzip', level: 1, file: '/dev/full' });
    await expect(writing).rejects.toMatchObject({ code: 'ENOSPC' });
    expect(ended).toBe(true);
  });

  test('stops when it is told to', async () => {
    await using directory = await createTemporaryDirectory();
    const signal = AbortSignal.abort(new Error('interrupted'));
    const writing = writeLayer({
      tar: inChunks(mixed),
      compression: 'gzip',
      file: join(directory.path, 'layer'),
      signal,
    });
    await expect(writing).rejects.toThrow('interrupted');
  });
});

describe('scanning a layer', () => {
  const files = Array.from({ length: 40 }, (_, index) => ({ name: `f${index}`, bytes: randomBytes(50_000) }));
  const archive = Buffer.concat([
    entryBlocks({ name: './d/', type: '5', mode: 0o700 }),
    ...files.map(({ name, bytes }) => entryBlocks({ name }, bytes)),
    entryBlocks({ name: 'l', type: '2', link: '../x' }),
    entryBlocks({ name: 'h', type: '1', link: './f0' }),
    endOfArchive,
    Buffer.alloc(3000),
  ]);

  test.each([
    ['gzip', gzipSync(archive)],
    ['zstd', zstdCompressSync(archive)],
    ['none', archive],
  ] as const)('lists entries and shows wanted files (%s)', async (compression, blob) => {
    const kept = new Map<string, Buffer[]>();
    const directories: number[] = [];
    const list = new Overlay({ layers: 3 }).list(2);
    const scanned = await scanLayer({
      source: Readable.from(inChunks(blob, 3000)),
      list,
      diffId: sha256(archive) as Digest,
      accepts: (path) => path === 'f0' || path === 'f17' || path === 'd' || path === 'l',
      onDirectory: ({ mode }) => directories.push(mode),
      onFile: async (entry) => {
        const chunks: Buffer[] = [];
        for await (const chunk of entry.content()) chunks.push(Buffer.from(chunk));
        kept.set(entry.path, chunks);
      },
    });
    expect(scanned).toEqual({ compression, uncompressedSize: archive.length });
    expect(directories).toEqual([0o700]);
    expect(list.length).toBe(43);
    expect(list.toEntry(41)).toEqual({ layer: 2, index: 41, path: 'l' });
    expect(list.targetOf(41)).toBe('../x');
    expect(list.isHardLink(42)).toBe(true);
    expect(list.linkPathOf(42)).toBe(list.pathOf(files.findIndex(({ name }) => name === 'f0') + 1));
    expect([...kept.keys()]).toEqual(['f0', 'f17']);
    for (const [name, chunks] of kept) {
      expect(
        Buffer.concat(chunks).equals(files.find((file) => file.name === name)?.bytes ?? Buffer.alloc(0)),
      ).toBe(true);
    }
  });

  test.each(['sha256', 'sha512'])('a layer with another diff ID (%s) is refused', async (algorithm) => {
    const diffId = (bytes: Buffer) =>
      `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}` as Digest;
    const scan = (expected: Buffer) =>
      scanLayer({ source: inChunks(gzipSync(archive)), diffId: diffId(expected) });
    await expect(scan(archive)).resolves.toMatchObject({ compression: 'gzip' });
    await expect(scan(Buffer.from('other'))).rejects.toMatchObject({ code: 'INVALID_LAYER' });
  });

  test('a digest that is wrong is the error, also of a tar that is damaged', async () => {
    const damaged = Buffer.concat([archive.subarray(0, 512), Buffer.alloc(512, 'x'), archive.subarray(1024)]);
    await expect(scanLayer({ source: inChunks(gzipSync(damaged)) })).rejects.toMatchObject({
      code: 'INVALID_LAYER',
    });
    await expect(scanLayer({ source: withWrongDigest(gzipSync(damaged)) })).rejects.toMatchObject({
      code: 'DIGEST_MISMATCH',
    });
  });

  test('damage is the error, also when what follows it unpacks to more than the limit', async () => {
    const bomb = Buffer.concat([Buffer.alloc(512, 'x'), Buffer.alloc(5_000_000)]);
    const small = { ...limits, maxUncompressedBytes: 2_000_000 };
    await expect(scanLayer({ source: inChunks(gzipSync(bomb)), limits: small })).rejects.toMatchObject({
      code: 'INVALID_LAYER',
    });
  });

  test('an error of the visitor destroys the source and comes out', async () => {
    const source = Readable.from(inChunks(gzipSync(archive), 3000));
    const scan = scanLayer({
      source,
      accepts: () => true,
      onFile: () => Promise.reject(new Error('no module')),
    });
    await expect(scan).rejects.toThrow('no module');
    expect(source.destroyed).toBe(true);
  });

  test('a hard link that leaves the root is refused', async () => {
    const link = entryBlocks({ name: 'h', type: '1', link: '../../etc/shadow' });
    const list = new Overlay({ layers: 1 }).list(0);
    await expect(scanLayer({ source: inChunks(link), list })).rejects.toMatchObject({
      code: 'INVALID_LAYER',
      facts: { path: 'h' },
    });
  });
});
