import { createHash, randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { setImmediate } from 'node:timers/promises';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { defaultLayerLimits } from '../../../src/registry/layer/layer-source.ts';
import { Overlay } from '../../../src/registry/layer/overlay.ts';
import { expectBlob, scanBlob, threadedSize } from '../../../src/registry/layer/scan-in-thread.ts';
import { scanLayer, type ScanLayerOptions } from '../../../src/registry/layer/scan-layer.ts';
import type { Digest } from '../../../src/registry/model/digest.ts';
import type { TarEntryHeader } from '../../../src/registry/tar/entry.ts';
import { endOfArchive, entryBlocks, inChunks, paxBlocks } from '../../support/tar-blocks.ts';
import { withWrongDigest } from './layer-bytes.ts';

const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');
const pattern = /\.ko$/;
/** Large enough for a thread, whatever its bytes are. */
const size = Number.POSITIVE_INFINITY;

function scanInThread(options: ScanLayerOptions) {
  return scanBlob({ accepts: (path) => pattern.test(path), filter: { pattern }, ...options, size });
}

/** Everything that a scan passes on. */
async function record(scan: (options: ScanLayerOptions) => Promise<unknown>, blob: Buffer) {
  const list = new Overlay({ layers: 1 }).list(0);
  const directories: TarEntryHeader[] = [];
  const files: [TarEntryHeader, string][] = [];
  const scanned = await scan({
    source: Readable.from(inChunks(blob, 3000)),
    list,
    accepts: (path) => pattern.test(path),
    onDirectory: (header) => directories.push({ ...header, content: undefined } as TarEntryHeader),
    onFile: async (entry) => {
      const header = { ...entry, content: undefined };
      const hash = createHash('sha256');
      for await (const chunk of entry.content()) hash.update(Buffer.from(chunk));
      files.push([header, hash.digest('hex')]);
    },
  });
  const entries = Array.from({ length: list.length }, (_, index) => [
    list.toEntry(index),
    list.kindOf(index),
    list.targetOf(index),
  ]);
  return { scanned, entries, directories, files };
}

const attributes = { 'SCHILY.xattr.security.capability': Buffer.from([1, 0, 0xff, 0x80]), mtime: '1.5' };
const large = randomBytes(9_000_000);
const archive = Buffer.concat([
  paxBlocks(attributes),
  entryBlocks({ name: './d/', type: '5', mode: 0o700 }),
  paxBlocks(attributes),
  entryBlocks({ name: 'd/large.ko' }, large),
  ...Array.from({ length: 2000 }, (_, index) => entryBlocks({ name: `d/f${index}` }, Buffer.alloc(index))),
  entryBlocks({ name: 'd/empty.ko' }),
  entryBlocks({ name: 'd/small.ko' }, Buffer.from('small')),
  entryBlocks({ name: 'l', type: '2', link: '../x' }),
  entryBlocks({ name: 'h.ko', type: '1', link: './d/f0' }),
  endOfArchive,
  Buffer.alloc(3000),
]);

/** Returns what a scan finds, or its error as JSON. */
const outcome = (scan: (options: ScanLayerOptions) => Promise<unknown>, blob: Buffer) =>
  scan({ source: inChunks(blob) }).then(
    (scanned) => scanned,
    (error: unknown) => JSON.parse(JSON.stringify(error)) as unknown,
  );

describe('scanning a layer in a thread', () => {
  test('uses the thread that was started when a large blob was expected', async () => {
    let started = 0;
    const count = (): void => {
      started += 1;
    };
    process.on('worker', count);
    try {
      expectBlob(threadedSize - 1);
      await setImmediate();
      expect(started).toBe(0);
      expectBlob(threadedSize);
      await setImmediate();
      expect(started).toBe(1);
      expectBlob(threadedSize);
      await scanInThread({ source: inChunks(gzipSync(archive)) });
      expect(started).toBe(1);
    } finally {
      process.off('worker', count);
    }
  });

  test.each([
    ['gzip', gzipSync(archive)],
    [
      'gzip in two members',
      Buffer.concat([gzipSync(archive.subarray(0, 5e6)), gzipSync(archive.subarray(5e6))]),
    ],
    ['zstd', zstdCompressSync(archive)],
    ['none', archive],
  ] as const)('passes on what this thread would find (%s)', async (_, blob) => {
    const found = await record(scanInThread, blob);
    expect(found).toEqual(await record(scanLayer, blob));
    expect(found.files.map(([{ path }, digest]) => [path, digest])).toEqual([
      ['d/large.ko', sha256(large)],
      ['d/empty.ko', sha256(Buffer.alloc(0))],
      ['d/small.ko', sha256(Buffer.from('small'))],
    ]);
    expect(found.directories[0]?.pax.get('SCHILY.xattr.security.capability')).toEqual(
      attributes['SCHILY.xattr.security.capability'],
    );
  });

  test('says of damaged blobs what this thread would say', async () => {
    const small = gzipSync(Buffer.concat([entryBlocks({ name: 'a.ko' }, randomBytes(2000)), endOfArchive]));
    const damage = fc.array(fc.tuple(fc.nat(small.length - 1), fc.nat(255)), { maxLength: 3 });
    const tail = fc.constantFrom(
      Buffer.alloc(0),
      Buffer.alloc(1),
      Buffer.from('x'),
      small,
      small.subarray(0, 30),
    );
    const cut = fc.nat(small.length);
    await fc.assert(
      fc.asyncProperty(damage, tail, fc.option(cut), async (bytes, after, end) => {
        const blob = Buffer.concat([small.subarray(0, end ?? small.length), after]);
        for (const [at, byte] of bytes) if (at < blob.length) blob[at] = byte;
        expect(await outcome(scanInThread, blob)).toEqual(await outcome(scanLayer, blob));
      }),
      { numRuns: 20 },
    );
  });

  test('a digest that is wrong is the error, also of a layer that is damaged', async () => {
    const blob = gzipSync(archive);
    await expect(scanInThread({ source: withWrongDigest(blob) })).rejects.toMatchObject({
      code: 'DIGEST_MISMATCH',
    });
    const damaged = Buffer.concat([archive.subarray(0, 512), Buffer.alloc(512, 'x'), archive.subarray(1024)]);
    await expect(scanInThread({ source: withWrongDigest(gzipSync(damaged)) })).rejects.toMatchObject({
      code: 'DIGEST_MISMATCH',
    });
    const diffId = `sha256:${sha256(Buffer.from('other'))}` as Digest;
    await expect(scanInThread({ source: inChunks(blob), diffId })).rejects.toMatchObject({
      code: 'INVALID_LAYER',
    });
  });

  test('has the limits that this thread has', async () => {
    const blob = gzipSync(Buffer.concat([archive, Buffer.alloc(50_000_000)]));
    const limits = { ...defaultLayerLimits, maxUncompressedBytes: 20_000_000 };
    await expect(scanInThread({ source: inChunks(blob), limits })).rejects.toMatchObject({
      code: 'LIMIT_EXCEEDED',
      facts: { maxUncompressedBytes: 20_000_000 },
    });
    const few = { ...defaultLayerLimits, maxEntries: 10 };
    await expect(scanInThread({ source: inChunks(blob), limits: few })).rejects.toMatchObject({
      code: 'LIMIT_EXCEEDED',
    });
  });

  test('stops the download when what is found is refused, and the next layer is scanned all the same', async () => {
    const source = Readable.from(inChunks(gzipSync(archive), 3000));
    const refused = new Error('refused');
    const onFile = () => Promise.reject(refused);
    await expect(scanInThread({ source, onFile })).rejects.toBe(refused);
    expect(source.destroyed).toBe(true);
    const again = await scanInThread({ source: inChunks(gzipSync(archive)) });
    expect(again).toEqual({ compression: 'gzip', uncompressedSize: archive.length });
  });
});
