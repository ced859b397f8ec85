import { setImmediate } from 'node:timers/promises';
import { expect, test } from 'vitest';
import type { TarEntry } from '../../../../src/registry/tar/entry.ts';
import { readTar } from '../../../../src/registry/tar/reader.ts';
import { Captures } from '../../../../src/signer/image/read/captures.ts';
import { endOfArchive, entryBlocks, inChunks } from '../../../support/tar-blocks.ts';

async function someEntry(): Promise<TarEntry> {
  const archive = Buffer.concat([entryBlocks({ name: 'a.ko' }, Buffer.from('a')), endOfArchive]);
  for await (const entry of readTar(inChunks(archive), { maxEntries: 1 })) return entry;
  throw new Error('there is no entry');
}

test('131,072 files are kept, and one more is a limit', async () => {
  const captures = new Captures({ keeps: 'header-blocks', visit: () => Promise.resolve(null) });
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
    keeps: 'header-blocks',
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
