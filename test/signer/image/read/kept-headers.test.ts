import { expect, test } from 'vitest';
import type { TarEntryHeader } from '../../../../src/registry/tar/entry.ts';
import { readTar } from '../../../../src/registry/tar/reader.ts';
import { KeptHeaders } from '../../../../src/signer/image/read/kept-headers.ts';
import { entryBlocks, inChunks, paxBlocks } from '../../../support/tar-blocks.ts';

async function headerWith(bytes: number): Promise<TarEntryHeader> {
  const pax = paxBlocks({ 'SCHILY.xattr.user.large': 'x'.repeat(bytes), comment: 'y'.repeat(300_000) });
  const archive = Buffer.concat([pax, entryBlocks({ name: 'a.ko' }, 'a')]);
  for await (const entry of readTar(inChunks(archive), { maxEntries: 1 })) return entry;
  throw new Error('there is no entry');
}

test('attributes of one entry are kept up to 256 KiB, and no other records', async () => {
  const headers = new KeptHeaders();
  expect([...headers.keep(await headerWith(250_000)).pax.keys()]).toEqual(['SCHILY.xattr.user.large']);
  const large = await headerWith(263_000);
  expect(() => headers.keep(large)).toThrow(expect.objectContaining({ code: 'LIMIT_EXCEEDED' }));
});

test('headers are kept up to 32 MiB in sum', async () => {
  const headers = new KeptHeaders();
  const header = await headerWith(250_000);
  for (let count = 0; count < 133; count += 1) headers.keep(header);
  expect(() => {
    for (let count = 0; count < 2; count += 1) headers.keep(header);
  }).toThrow(expect.objectContaining({ code: 'LIMIT_EXCEEDED' }));
});
