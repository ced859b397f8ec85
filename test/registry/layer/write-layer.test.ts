import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { type FileHandle, open, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync, gzipSync, zstdDecompressSync } from 'node:zlib';
import { describe, expect, test, vi } from 'vitest';
import {
  type CompressionOptions,
  compressLayer,
  writeLayer,
} from '../../../src/registry/layer/write-layer.ts';
import { createTemporaryDirectory } from '../../../src/shared/temporary.ts';
import { describeWith } from '../../support/programs.ts';
import { collect, inChunks } from '../../support/tar-blocks.ts';

import { leftOver, mixed, withWrongDigest } from './layer-bytes.ts';

const sha256 = (bytes: Buffer) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

function pack(bytes: Buffer, options: CompressionOptions, chunkSize?: number): Promise<Buffer> {
  return collect(compressLayer(inChunks(bytes, chunkSize), options));
}

function decode(program: string, input: Buffer): Buffer {
  return execFileSync(program, ['-dc'], { input, maxBuffer: 1e9, stdio: ['pipe', 'pipe', 'ignore'] });
}

describe('the memory of a chunk', () => {
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
    test('produces what they accept', async () => {
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

  test('creates the file readable only by its owner', async () => {
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

  test('stops when it is aborted', async () => {
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
