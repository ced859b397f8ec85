import { createHash, randomBytes } from 'node:crypto';
import {
  chmod,
  chown,
  lstat,
  mkdir,
  readdir,
  readFile,
  rename,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ContentsCache, type ContentsCacheOptions } from '../../../src/registry/layer/contents-cache.ts';
import { ContentsRecorder, type LayerIdentity } from '../../../src/registry/layer/layer-contents.ts';
import { digestOf } from '../../../src/registry/model/digest.ts';
import { readTar } from '../../../src/registry/tar/reader.ts';
import { createTemporaryDirectory } from '../../../src/shared/temporary.ts';
import { endOfArchive, entryBlocks, inChunks, paxBlocks } from '../../support/tar-blocks.ts';
import { anyStack, layerOf, tarOf } from '../../support/tar-stacks.ts';

const layer: LayerIdentity = { digest: digestOf('blob'), size: 4, diffId: digestOf('tar') };

function open(
  directory: string,
  options: Partial<ContentsCacheOptions> = {},
): Promise<ContentsCache | undefined> {
  return ContentsCache.open({ directory, program: '1.0.0', ...options });
}

async function mustOpen(...args: Parameters<typeof open>): Promise<ContentsCache> {
  const cache = await open(...args);
  if (cache === undefined) throw new Error('the cache cannot be opened');
  return cache;
}

/** What a tar contains, and a recording of it. */
async function recordTar(tar: Buffer) {
  const recorder = new ContentsRecorder();
  const entries: object[] = [];
  const directories: object[] = [];
  for await (const entry of readTar(inChunks(tar), { maxEntries: 1000 })) {
    const { path, type, linkName } = entry;
    entries.push({ path, type, linkName });
    recorder.add(entry);
    if (type !== 'directory') continue;
    recorder.addDirectory(entry);
    directories.push(Object.fromEntries(Object.entries(entry).filter(([field]) => field !== 'content')));
  }
  return { recorder, contents: { entries, directories } };
}

/** Keeps a layer with one file of this name. */
async function keep(directory: string, name: string, identity = layer): Promise<void> {
  await using cache = await mustOpen(directory);
  const recorder = new ContentsRecorder();
  recorder.add({ path: name, type: 'file', linkName: '' });
  cache.store(identity, recorder);
}

async function find(directory: string, identity = layer, options: Partial<ContentsCacheOptions> = {}) {
  const contents = await (await open(directory, options))?.find(identity);
  return contents?.entries.map(({ path }) => path);
}

/** The only file of a directory. */
async function onlyFile(directory: string): Promise<string> {
  const [name = '', ...others] = await readdir(directory);
  expect(others).toEqual([]);
  return join(directory, name);
}

async function scratch() {
  const temporary = await createTemporaryDirectory();
  return Object.assign(temporary, { directory: join(temporary.path, 'kmm-sign', 'layers') });
}

describe('what a layer contains', () => {
  test('is found as it was read from generated layers', async () => {
    await using where = await scratch();
    await fc.assert(
      fc.asyncProperty(anyStack, async (stack) => {
        for (const [index, entries] of stack.entries()) {
          const tar = tarOf(index, layerOf(entries));
          const { recorder, contents } = await recordTar(tar);
          const identity = { ...layer, diffId: digestOf(tar) };
          {
            await using cache = await mustOpen(where.directory);
            cache.store(identity, recorder);
          }
          expect(await (await open(where.directory))?.find(identity)).toEqual(contents);
        }
      }),
      { numRuns: 50 },
    );
  });

  test('is found with bytes that are not UTF-8, attributes, times and devices', async () => {
    await using where = await scratch();
    const attributes = { 'SCHILY.xattr.security.capability': Buffer.from([1, 0, 0xff, 0x80]), mtime: '1.5' };
    const tar = Buffer.concat([
      paxBlocks(attributes),
      entryBlocks({
        name: Buffer.from([0x64, 0xff, 0xfe, 0x2f]),
        type: '5',
        mode: 0o1777,
        uid: 5,
        gid: 6,
        user: 'u',
      }),
      entryBlocks({ name: 'null', type: '3', major: 1, minor: 3 }),
      entryBlocks({ name: 'l', type: '2', link: Buffer.from([0x80, 0x22, 0x5c]) }),
      entryBlocks({ name: 'h', type: '1', link: './l' }),
      entryBlocks({ name: './', type: '5', mtime: 7 }),
      endOfArchive,
    ]);
    const { recorder, contents } = await recordTar(tar);
    {
      await using cache = await mustOpen(where.directory);
      cache.store(layer, recorder);
    }
    expect(await (await open(where.directory))?.find(layer)).toEqual(contents);
  });

  test('is not found for another digest, size, diff ID or version of the program', async () => {
    await using where = await scratch();
    await keep(where.directory, 'a');
    expect(await find(where.directory)).toEqual(['a']);
    expect(await find(where.directory, { ...layer, digest: digestOf('other') })).toBeUndefined();
    expect(await find(where.directory, { ...layer, size: 5 })).toBeUndefined();
    expect(await find(where.directory, { ...layer, diffId: digestOf('other') })).toBeUndefined();
    expect(await find(where.directory, layer, { program: '1.0.1' })).toBeUndefined();
  });

  test('is not kept if there is too much of it', async () => {
    await using where = await scratch();
    {
      await using cache = await mustOpen(where.directory);
      const recorder = new ContentsRecorder();
      for (let index = 0; index < 250_001; index += 1)
        recorder.add({ path: `${index}`, type: 'file', linkName: '' });
      cache.store(layer, recorder);
    }
    expect(await readdir(where.directory)).toEqual([]);
  });
});

describe('a record that is not what was written', () => {
  test('is as good as none, wherever a byte is changed or the end cut off', async () => {
    await using where = await scratch();
    await keep(where.directory, 'a');
    const file = await onlyFile(where.directory);
    const good = await readFile(file);
    for (let at = 0; at < good.length; at += 1) {
      const bad = Buffer.from(good);
      bad[at] = (bad[at] ?? 0) ^ 1;
      await writeFile(file, bad);
      expect(await find(where.directory)).toBeUndefined();
      await writeFile(file, good.subarray(0, at));
      expect(await find(where.directory)).toBeUndefined();
    }
    await writeFile(file, good);
    expect(await find(where.directory)).toEqual(['a']);
  });

  test('is as good as none if it is that of another layer under this name', async () => {
    await using where = await scratch();
    await keep(where.directory, 'a');
    const name = await onlyFile(where.directory);
    await rename(name, join(where.path, 'first'));
    await keep(where.directory, 'b', { ...layer, size: 5 });
    await rename(await onlyFile(where.directory), name);
    expect(await find(where.directory)).toBeUndefined();
  });

  test.each([
    ['text', Buffer.from('text')],
    ['nothing', Buffer.alloc(0)],
    ['another form', zstdCompressSync(JSON.stringify({ key: 'x' }))],
    ['more than is unpacked', zstdCompressSync(Buffer.alloc(200 * 1024 ** 2))],
    ['more than is read', randomBytes(17 * 1024 ** 2)],
  ])('is as good as none if it holds %s with a right hash', async (_what, packed) => {
    await using where = await scratch();
    await keep(where.directory, 'a');
    const hash = createHash('sha256').update(packed).digest();
    await writeFile(await onlyFile(where.directory), Buffer.concat([hash, packed]));
    expect(await find(where.directory)).toBeUndefined();
  });
});

describe('the directory', () => {
  test('and its files are for their owner only', async () => {
    await using where = await scratch();
    await keep(where.directory, 'a');
    const modes = [join(where.path, 'kmm-sign'), where.directory, await onlyFile(where.directory)].map(
      async (path) => (await lstat(path)).mode & 0o777,
    );
    expect(await Promise.all(modes)).toEqual([0o700, 0o700, 0o600]);
  });

  test.each([
    ['others may write to it', (path: string) => chmod(path, 0o702)],
    ['its group may write to it', (path: string) => chmod(path, 0o720)],
    [
      'it is a link',
      async (path: string) => {
        await rename(path, `${path}-moved`);
        await symlink(`${path}-moved`, path);
      },
    ],
  ])('is not used if %s', async (_how, change) => {
    await using where = await scratch();
    await keep(where.directory, 'a');
    await change(where.directory);
    expect(await open(where.directory)).toBeUndefined();
  });

  test.skipIf(process.getuid?.() !== 0)("is not used if it is another user's", async () => {
    await using where = await scratch();
    await keep(where.directory, 'a');
    await chown(where.directory, 1000, 1000);
    expect(await open(where.directory)).toBeUndefined();
  });

  test('has files that are not used if others may write to them, or they are links', async () => {
    await using where = await scratch();
    await keep(where.directory, 'a');
    const file = await onlyFile(where.directory);
    await chmod(file, 0o606);
    expect(await find(where.directory)).toBeUndefined();
    await chmod(file, 0o600);
    await rename(file, join(where.path, 'moved'));
    await symlink(join(where.path, 'moved'), file);
    expect(await find(where.directory)).toBeUndefined();
  });

  test('is not used where it cannot be made', async () => {
    await using where = await scratch();
    await writeFile(join(where.path, 'kmm-sign'), '');
    expect(await open(where.directory)).toBeUndefined();
    expect(await open('/proc/kmm-sign/layers')).toBeUndefined();
  });

  test('keeps the records that were used last, within a number and a size', async () => {
    await using where = await scratch();
    const identities = ['a', 'b', 'c', 'd'].map((name) => ({ ...layer, digest: digestOf(name) }));
    const store = async (identity: LayerIdentity, limits: ContentsCacheOptions['limits']) => {
      await using cache = await mustOpen(where.directory, { limits });
      const recorder = new ContentsRecorder();
      recorder.add({ path: 'x', type: 'file', linkName: '' });
      cache.store(identity, recorder);
    };
    const [first, second, third, fourth] = identities as [
      LayerIdentity,
      LayerIdentity,
      LayerIdentity,
      LayerIdentity,
    ];
    for (const identity of [first, second, third]) await store(identity, undefined);
    // All of them were written long ago, and only the first was used since.
    for (const name of await readdir(where.directory)) await utimes(join(where.directory, name), 1, 1);
    expect(await find(where.directory, first)).toEqual(['x']);
    await store(fourth, { maxFiles: 2, maxBytes: 1e6 });
    const left = async () => Promise.all(identities.map((identity) => find(where.directory, identity)));
    expect(await left()).toEqual([['x'], undefined, undefined, ['x']]);
    await store(second, { maxFiles: 10, maxBytes: 300 });
    expect((await readdir(where.directory)).length).toBe(1);
  });

  test('loses what killed processes have left, and nothing that is not a record', async () => {
    await using where = await scratch();
    await mkdir(where.directory, { recursive: true, mode: 0o700 });
    const names = {
      old: `${crypto.randomUUID()}.tmp`,
      young: `${crypto.randomUUID()}.tmp`,
      other: 'notes.txt',
    };
    for (const name of Object.values(names)) await writeFile(join(where.directory, name), 'x');
    for (const name of [names.old, names.other]) await utimes(join(where.directory, name), 1, 1);
    await keep(where.directory, 'a');
    const left = (await readdir(where.directory)).filter((name) => name.includes('.'));
    expect(left.toSorted()).toEqual([names.young, names.other].toSorted());
  });
});
