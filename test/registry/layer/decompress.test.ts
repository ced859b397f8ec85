import { execFileSync } from 'node:child_process';
import { Readable } from 'node:stream';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { decompressLayer, detectCompression } from '../../../src/registry/layer/decompress.ts';
import { defaultLayerLimits } from '../../../src/registry/layer/layer-source.ts';
import { requireProgram } from '../../support/programs.ts';
import { collect, inChunks } from '../../support/tar-blocks.ts';

import { leftOver, mixed, withWrongDigest } from './layer-bytes.ts';

const limits = defaultLayerLimits;
async function unpack(source: AsyncIterable<Buffer>, maxUncompressedBytes = 1e9): Promise<Buffer> {
  const { tar } = await decompressLayer(source, { limits: { maxUncompressedBytes } });
  return collect(tar);
}

/** Packs with a window of 2 to the power of `long` bytes. */
function packWithWindow(long: number): Buffer {
  const args = ['-c', '-1', `--long=${long}`];
  return execFileSync(requireProgram('zstd'), args, { input: mixed, maxBuffer: 1e8 });
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

  test('a zstd window of 128 MiB is accepted, and a larger one exceeds the limit', async () => {
    expect((await unpack(inChunks(packWithWindow(27)))).equals(mixed)).toBe(true);
    await expect(unpack(inChunks(packWithWindow(28)))).rejects.toMatchObject({
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
});
