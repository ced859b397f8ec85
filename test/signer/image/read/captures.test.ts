import { setImmediate } from 'node:timers/promises';
import { expect, test } from 'vitest';
import type { TarEntry, TarEntryHeader } from '../../../../src/registry/tar/entry.ts';
import { readTar } from '../../../../src/registry/tar/reader.ts';
import { Captures, HeaderStore } from '../../../../src/signer/image/read/captures.ts';
import { endOfArchive, entryBlocks, inChunks, paxBlocks } from '../../../support/tar-blocks.ts';

async function someEntry(): Promise<TarEntry> {
  const archive = Buffer.concat([entryBlocks({ name: 'a.ko' }, Buffer.from('a')), endOfArchive]);
  for await (const entry of readTar(inChunks(archive), { maxEntries: 1 })) return entry;
  throw new Error('there is no entry');
}

test('131,072 files are kept, and one more is a limit', async () => {
  const captures = new Captures({ headerDetail: 'header-blocks', visit: () => Promise.resolve(null) });
  const entry = await someEntry();
  for (let index = 0; index < 131_072; index += 1) await captures.addFile(0, { ...entry, index });
  await expect(captures.addFile(1, entry)).rejects.toMatchObject({
    code: 'LIMIT_EXCEEDED',
    facts: { maxFiles: 131_072 },
  });
});

test('files of two layers are visited one after the other', async () => {
  const events: string[] = [];
  const entry = await someEntry();
  const captures = new Captures({
    headerDetail: 'header-blocks',
    async visit({ path }) {
      events.push(`${path} begins`);
      await setImmediate();
      events.push(`${path} ends`);
    },
  });
  const paths = ['a.ko', 'b.ko', 'c.ko'];
  await Promise.all(paths.map((path, layer) => captures.addFile(layer, { ...entry, path })));
  expect(events).toEqual(paths.flatMap((path) => [`${path} begins`, `${path} ends`]));
});

async function headerWith(bytes: number): Promise<TarEntryHeader> {
  const pax = paxBlocks({ 'SCHILY.xattr.user.large': 'x'.repeat(bytes), comment: 'y'.repeat(300_000) });
  const archive = Buffer.concat([pax, entryBlocks({ name: 'a.ko' }, 'a')]);
  for await (const entry of readTar(inChunks(archive), { maxEntries: 1 })) return entry;
  throw new Error('there is no entry');
}

test('attributes of one entry are kept up to 256 KiB, and no other records', async () => {
  const headers = new HeaderStore();
  expect([...headers.retain(await headerWith(250_000)).pax.keys()]).toEqual(['SCHILY.xattr.user.large']);
  const large = await headerWith(263_000);
  expect(() => headers.retain(large)).toThrow(expect.objectContaining({ code: 'LIMIT_EXCEEDED' }));
});

test('headers are kept up to 32 MiB in sum', async () => {
  const headers = new HeaderStore();
  const header = await headerWith(250_000);
  for (let count = 0; count < 133; count += 1) headers.retain(header);
  expect(() => {
    for (let count = 0; count < 2; count += 1) headers.retain(header);
  }).toThrow(expect.objectContaining({ code: 'LIMIT_EXCEEDED' }));
});
