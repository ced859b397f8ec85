import { createHash, randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { defaultLayerLimits } from '../../../src/registry/layer/layer-source.ts';
import { Overlay } from '../../../src/registry/layer/overlay.ts';
import { scanLayer } from '../../../src/registry/layer/scan-layer.ts';
import type { Digest } from '../../../src/registry/model/digest.ts';
import { endOfArchive, entryBlocks, inChunks } from '../../support/tar-blocks.ts';

import { withWrongDigest } from './layer-bytes.ts';

const limits = defaultLayerLimits;
const sha256 = (bytes: Buffer) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

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
