import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { RegistryError } from '../../../src/registry/model/errors.ts';
import { readTar } from '../../../src/registry/tar/reader.ts';
import { decodeText, encodeText } from '../../../src/registry/tar/header.ts';
import { describeWith } from '../../support/programs.ts';
import { GoTar, listWithReader, type GoEntry, type GoListing } from '../../support/tar-listing.ts';
import {
  collect,
  endOfArchive,
  entryBlocks,
  gnuMagic,
  headerBlock,
  inChunks,
  oldMagic,
  padded,
  paxBlocks,
  ustarMagic,
  withChecksum,
} from '../../support/tar-blocks.ts';

const run = promisify(execFile);
const limits = { maxEntries: 1000 };

async function namesOf(archive: Buffer): Promise<string[]> {
  const names: string[] = [];
  for await (const { name } of readTar(inChunks(archive), limits)) names.push(name);
  return names;
}

function join(...parts: Buffer[]): Buffer {
  return Buffer.concat(parts);
}

const file = (name: string, content = name): Buffer => entryBlocks({ name }, content);

describe('an archive that tries to hide something', () => {
  test('entries after the end marker are not seen, and the source is read to its end', async () => {
    const archive = join(file('seen'), endOfArchive, file('unseen'), Buffer.alloc(5000, 'x'));
    let bytes = 0;
    async function* counted() {
      for await (const chunk of inChunks(archive, 700)) {
        bytes += chunk.length;
        yield chunk;
      }
    }
    const names: string[] = [];
    for await (const { name } of readTar(counted(), limits)) names.push(name);
    expect(names).toEqual(['seen']);
    expect(bytes).toBe(archive.length);
  });

  test.each(['1', '2', '3', '4', '5', '6'])(
    'an entry of type %s with a size does not swallow what follows',
    async (type) => {
      const archive = join(
        headerBlock({ name: 'link', link: 'x', type, size: 1024 }),
        file('hidden.ko'),
        endOfArchive,
      );
      expect(await namesOf(archive)).toEqual(['link', 'hidden.ko']);
    },
  );

  test.each([
    ['redirect', 'SCHILY.xattr.trusted.overlay.redirect', 'trusted.overlay.redirect'],
    ['opaque', 'SCHILY.xattr.user.overlay.opaque', 'user.overlay.opaque'],
    ['metacopy', 'LIBARCHIVE.xattr.trusted.overlay.metacopy', 'trusted.overlay.metacopy'],
    ['whiteout', 'LIBARCHIVE.xattr.user%2Eoverlay%2ewhiteout', 'user.overlay.whiteout'],
    ['unknown', 'SCHILY.xattr.trusted.overlay.overlay.later', 'trusted.overlay.overlay.later'],
  ])('an attribute that overlayfs obeys is refused by name (%s)', async (_, key, name) => {
    const attribute = paxBlocks({ [key]: '/stash' });
    const directory = headerBlock({ name: 'opt/lib/', type: '5' });
    const refused = {
      code: 'INVALID_LAYER',
      message: expect.stringContaining(name),
      facts: expect.objectContaining({ path: 'opt/lib/' }),
    };
    await expect(namesOf(join(attribute, directory, endOfArchive))).rejects.toMatchObject(refused);
    const overridden = join(attribute, paxBlocks({ mtime: '1' }), directory, endOfArchive);
    await expect(namesOf(overridden)).rejects.toMatchObject(refused);
    const global = join(paxBlocks({ [key]: '/stash' }, 'g'), directory, endOfArchive);
    await expect(namesOf(global)).rejects.toMatchObject(refused);
  });

  test('other attributes of the same namespaces are not', async () => {
    const harmless = { 'SCHILY.xattr.trusted.overlays': 'a', 'LIBARCHIVE.xattr.user.overlay%': 'b' };
    expect(await namesOf(join(paxBlocks(harmless), file('a'), endOfArchive))).toEqual(['a']);
  });

  test('the size of the PAX header counts, not that of the block', async () => {
    const archive = join(
      paxBlocks({ size: '5' }),
      headerBlock({ name: 'a', size: 2000 }),
      padded('hello'),
      file('b'),
      endOfArchive,
    );
    const contents: string[] = [];
    for await (const entry of readTar(inChunks(archive), limits)) {
      contents.push((await collect(entry.content())).toString());
    }
    expect(contents).toEqual(['hello', 'b']);
  });

  test('a global header changes nothing and cancels the PAX header before it', async () => {
    const archive = join(
      paxBlocks({ path: 'lost' }),
      paxBlocks({ path: 'global' }, 'g'),
      file('a'),
      file('b'),
      endOfArchive,
    );
    expect(await namesOf(archive)).toEqual(['a', 'b']);
  });

  test.each(['..', '../x', 'a/../../x', 'a/..', '/../x', './..'])('the path %s is refused', async (name) => {
    await expect(namesOf(join(file(name, ''), endOfArchive))).rejects.toMatchObject({
      code: 'INVALID_LAYER',
      facts: { path: name, index: 0 },
    });
  });

  test.each(['7', 'S', 'V', 'M', 'D', 'N', 'A', 'X', 'z'])('the type %s is refused', async (type) => {
    await expect(namesOf(entryBlocks({ name: 'odd', type, magic: gnuMagic }))).rejects.toMatchObject({
      code: 'INVALID_LAYER',
      facts: { path: 'odd' },
    });
  });

  test('a sparse file in PAX form is refused', async () => {
    const archive = join(paxBlocks({ 'GNU.sparse.major': '1', 'GNU.sparse.minor': '0' }), file('sparse'));
    await expect(namesOf(archive)).rejects.toMatchObject({
      code: 'INVALID_LAYER',
      facts: { path: 'sparse' },
    });
  });

  test.each([
    ['negative', headerBlock({ name: 'n', size: Buffer.alloc(12, 0xff) })],
    ['of 2^62 bytes', headerBlock({ name: 'n', size: Buffer.from('800000004000000000000000', 'hex') })],
    ['beyond 64 bits', headerBlock({ name: 'n', size: Buffer.from('80ffffffffffffffffffffff', 'hex') })],
    ['negative in PAX', join(paxBlocks({ size: '-1' }), headerBlock({ name: 'n' }))],
    ['huge in PAX', join(paxBlocks({ size: '9007199254740993' }), headerBlock({ name: 'n' }))],
  ])('a size %s is refused', async (_, archive) => {
    await expect(namesOf(archive)).rejects.toMatchObject({ code: 'INVALID_LAYER' });
  });

  test('an extension header of more than 1 MiB is refused before it is read', async () => {
    const archive = headerBlock({ name: 'long', type: 'L', size: 1024 * 1024 + 1, magic: gnuMagic });
    await expect(namesOf(archive)).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' });
  });

  test('more entries than allowed are refused', async () => {
    const archive = join(file('a'), file('b'), file('c'));
    const read = async () => {
      for await (const entry of readTar(inChunks(archive), { maxEntries: 2 })) void entry;
    };
    await expect(read()).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' });
  });

  test.each([
    ['in a header', join(file('a'), file('b').subarray(0, 300))],
    ['in a PAX header', paxBlocks({ path: 'x'.repeat(600) }).subarray(0, 700)],
    ['in content', file('a', 'x'.repeat(1000)).subarray(0, 1200)],
    ['after one zero block and half', join(file('a'), Buffer.alloc(700))],
  ])('an archive cut short %s is refused', async (_, archive) => {
    await expect(namesOf(archive)).rejects.toMatchObject({ code: 'INVALID_LAYER' });
  });
});

describe('an archive that is only unusual', () => {
  test.each([
    ['no end marker', join(file('a'))],
    ['one zero block', join(file('a'), Buffer.alloc(512))],
    ['no padding of its last file', file('a').subarray(0, 513)],
    [
      'a checksum over signed bytes',
      join(entryBlocks({ name: 'a', user: Buffer.from('é'), checksum: 'signed' })),
    ],
  ])('with %s is read', async (_, archive) => {
    expect(await namesOf(archive)).toEqual(['a']);
  });

  test('paths are cleaned, names are not', async () => {
    const names = ['./a', '/b', 'c//d/./e', 'f/', '.', './', '..data/x', 'a..', '.wh.x'];
    const archive = join(...names.map((name) => entryBlocks({ name, type: name.endsWith('/') ? '5' : '0' })));
    const seen: [string, string][] = [];
    for await (const { name, path } of readTar(inChunks(archive), limits)) seen.push([name, path]);
    expect(seen).toEqual([
      ['./a', 'a'],
      ['/b', 'b'],
      ['c//d/./e', 'c/d/e'],
      ['f/', 'f'],
      ['.', ''],
      ['./', ''],
      ['..data/x', '..data/x'],
      ['a..', 'a..'],
      ['.wh.x', '.wh.x'],
    ]);
  });

  test('content that was not read is skipped, and is gone afterwards', async () => {
    const entries = [];
    for await (const entry of readTar(inChunks(join(file('a', 'x'.repeat(3000)), file('b')), 100), limits)) {
      entries.push(entry);
    }
    expect(entries.map(({ name }) => name)).toEqual(['a', 'b']);
    for (const entry of entries) expect(await collect(entry.content())).toHaveLength(0);
  });
});

test('every sequence of bytes has its own text', () => {
  fc.assert(
    fc.property(fc.uint8Array(), (bytes) => {
      const buffer = Buffer.from(bytes);
      expect(encodeText(decodeText(buffer))).toEqual(buffer);
    }),
  );
  expect(decodeText(Buffer.from([0x61, 0x80, 0xff, 0xed, 0xa0, 0x80]))).toBe(
    'a\udc80\udcff\udced\udca0\udc80',
  );
});

const names = fc.oneof(
  fc.constantFrom(
    'a',
    'dir/',
    'dir/b',
    './c',
    '/abs',
    'x'.repeat(100),
    'é',
    '\u{1f600}',
    '',
    'a\0b',
    '..',
    'e//f',
  ),
  fc.uint8Array({ maxLength: 100 }).map((bytes) => Buffer.from(bytes)),
);
const numbers = (length: number) =>
  fc.oneof(
    fc.nat({ max: 8 ** (length - 1) - 1 }),
    fc
      .constantFrom(' 17 \0', '0000017', '17 17', '8', '-1', '\0\x0017', '1\x002')
      .map((text) => Buffer.from(text)),
    fc.uint8Array({ minLength: length, maxLength: length }).map((bytes) => Buffer.from(bytes)),
    fc
      .bigInt({ min: -(2n ** 40n), max: 2n ** 40n })
      .map((value) =>
        Buffer.from(
          BigInt.asUintN(length * 8, value)
            .toString(16)
            .padStart(length * 2, '0'),
          'hex',
        ),
      )
      .map((bytes) => Buffer.from([(bytes[0] ?? 0) | 0x80, ...bytes.subarray(1)])),
  );
const rarely = <T>(value: fc.Arbitrary<T>) =>
  fc.oneof({ weight: 12, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: value });

/** Blocks of one entry, valid or nearly so. */
const anyEntry = fc
  .record({
    fields: fc.record(
      {
        name: names,
        mode: rarely(fc.nat(0o7777)),
        uid: rarely(numbers(8)),
        gid: rarely(numbers(8)),
        mtime: rarely(numbers(12)),
        type: fc.oneof(
          { weight: 8, arbitrary: fc.constantFrom('0', '\0') },
          { weight: 4, arbitrary: fc.constantFrom('1', '2', '3', '4', '5', '6') },
          { weight: 1, arbitrary: fc.constantFrom('7', 'S', 'g', 'x', 'L', 'K', 'Z') },
        ),
        link: names,
        magic: fc.constantFrom(ustarMagic, ustarMagic, gnuMagic, oldMagic, 'ustar\x00  '),
        user: names,
        major: rarely(numbers(8)),
        prefix: fc.oneof(fc.constant(''), names),
        checksum: fc.constantFrom<'unsigned' | 'signed' | 'wrong'>(
          'unsigned',
          'unsigned',
          'unsigned',
          'signed',
        ),
      },
      { requiredKeys: ['name', 'type'] },
    ),
    content: fc.oneof(fc.constant(''), fc.string(), fc.string({ minLength: 511, maxLength: 1030 })),
  })
  .map(({ fields, content }) =>
    entryBlocks(
      Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)),
      content,
    ),
  );
const anyPax = fc
  .dictionary(
    fc.constantFrom(
      'path',
      'linkpath',
      'size',
      'uid',
      'gid',
      'uname',
      'gname',
      'mtime',
      'atime',
      'ctime',
      'comment',
      'SCHILY.xattr.security.ima',
      'GNU.sparse.major',
      'size ',
      'hdrcharset',
    ),
    fc.oneof(
      fc.constantFrom(
        '',
        '0',
        '5',
        '-5',
        '+7',
        '512',
        '1e3',
        '1.5',
        '-1.25',
        '1.',
        '.5',
        '1.1234567891',
        'p/q',
        'd/',
      ),
      fc.uint8Array().map((bytes) => Buffer.from(bytes)),
    ),
  )
  .map((records) => paxBlocks(records));
const soundPax = fc
  .record(
    {
      path: fc.constantFrom('pax/name', 'é'),
      linkpath: fc.constant('pax/link'),
      uid: fc.nat().map(String),
      mtime: fc.tuple(fc.integer(), fc.nat(99)).map(([seconds, fraction]) => `${seconds}.${fraction}`),
      size: fc.constantFrom('', '0', '7'),
      'SCHILY.xattr.security.ima': fc.uint8Array().map((bytes) => Buffer.from(bytes)),
    },
    { requiredKeys: [] },
  )
  .map((records) => paxBlocks(records));
const soundEntry = fc
  .tuple(fc.constantFrom('0', '\0', '1', '2', '5'), fc.constantFrom('f', 'd/', 'd/f', 'd/é'), fc.string())
  .map(([type, name, text]) =>
    entryBlocks(
      { type, name, link: 'x' },
      type === '0' || (type === '\0' && !name.endsWith('/')) ? text : '',
    ),
  );
const anyLongName = fc
  .tuple(
    fc.constantFrom('L', 'K'),
    fc.constantFrom('long/name', 'n'.repeat(300), 'dir/', '', 'nul\0nul', '\0'),
  )
  .map(([type, name]) => entryBlocks({ name: '././@LongLink', type, magic: gnuMagic }, name));
const anyArchive = fc
  .array(
    fc.oneof(
      { weight: 5, arbitrary: anyEntry },
      { weight: 8, arbitrary: soundEntry },
      { weight: 3, arbitrary: soundPax },
      { weight: 2, arbitrary: anyPax },
      { weight: 3, arbitrary: anyLongName },
      { weight: 1, arbitrary: fc.constantFrom(Buffer.alloc(512), endOfArchive) },
    ),
    { maxLength: 6 },
  )
  .map((blocks) => Buffer.concat(blocks));
const anyDamagedArchive = fc
  .tuple(
    anyArchive,
    fc.array(fc.tuple(fc.nat(4000), fc.nat(255)), { maxLength: 3 }),
    fc.boolean(),
    fc.nat(600),
  )
  .map(([archive, changes, repaired, cut]) => {
    const copy = Buffer.from(archive.subarray(0, cut < 300 ? archive.length - cut : archive.length));
    for (const [place, value] of changes) {
      if (place >= copy.length) continue;
      copy[place] = value;
      const start = place - (place % 512);
      if (repaired && start + 512 <= copy.length) withChecksum(copy.subarray(start, start + 512));
    }
    return copy;
  });

async function listOrRefuse(archive: Buffer): Promise<GoEntry[] | 'refused'> {
  try {
    return await listWithReader(archive, 333);
  } catch (error) {
    if (error instanceof RegistryError) return 'refused';
    throw error;
  }
}

/** What Go reads but we refuse on purpose. */
function isRefusedOnPurpose({ Entries }: GoListing): boolean {
  return Entries.some(({ Name, Type, PAX, Size }) => {
    const name = Buffer.from(Name, 'base64').toString('latin1');
    const keys = Object.keys(PAX).map((key) => Buffer.from(key, 'base64').toString('latin1'));
    return (
      name.split('/').includes('..') ||
      !'0123456'.includes(String.fromCharCode(Type)) ||
      keys.some((key) => key.startsWith('GNU.sparse.')) ||
      !Number.isSafeInteger(Size)
    );
  });
}

describeWith(['go'], "the reader agrees with Go's archive/tar", ({ go }) => {
  let goTar: GoTar;
  beforeAll(async () => {
    goTar = await GoTar.build(go);
  });
  afterAll(() => goTar[Symbol.asyncDispose]());

  /** What we see of archives beside what Go sees; where we refuse one on purpose, refusal is expected. */
  async function compare(archives: readonly Buffer[]) {
    const listings = await goTar.list(archives);
    const expected = listings.map((listing) =>
      listing.Error !== '' || isRefusedOnPurpose(listing) ? 'refused' : listing.Entries,
    );
    const seen = await Promise.all(archives.map((archive) => listOrRefuse(archive)));
    return { seen, expected };
  }

  test('on generated archives, sound and damaged', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.oneof(anyArchive, anyDamagedArchive), { minLength: 40, maxLength: 60 }),
        async (archives) => {
          const { seen, expected } = await compare(archives);
          expect(seen).toEqual(expected);
        },
      ),
      { numRuns: 30, endOnFailure: true },
    );
  }, 120_000);

  test('on generated archives that are mostly sound, so that the comparison is not of errors only', async () => {
    const sample = fc.sample(anyArchive, { numRuns: 300, seed: 1 });
    const { seen, expected } = await compare(sample);
    expect(seen).toEqual(expected);
    expect(expected.filter((listing) => listing !== 'refused' && listing.length > 0).length).toBeGreaterThan(
      60,
    );
  });

  describeWith(['tar', 'python3'], 'on what other programs write', (paths) => {
    test.each(['v7', 'oldgnu', 'gnu', 'ustar', 'posix'])('GNU tar, format %s', async (format) => {
      const { stdout } = await run(
        paths.tar,
        ['-C', '/usr/share', `--format=${format}`, '--exclude=*[^ -~]*', '-cf', '-', 'base-files', 'dpkg'],
        { encoding: 'buffer', maxBuffer: 1024 ** 3 },
      );
      const { seen, expected } = await compare([stdout]);
      expect(seen).toEqual(expected);
      expect(expected[0]?.length).toBeGreaterThan(20);
    });

    test.each(['USTAR', 'GNU', 'PAX'])(
      'python, format %s, with long names, large owners and links',
      async (format) => {
        const { stdout } = await run(paths.python3, ['-c', pythonArchive, format], { encoding: 'buffer' });
        const { seen, expected } = await compare([stdout]);
        expect(seen).toEqual(expected);
        expect(expected[0]).toHaveLength({ USTAR: 6, GNU: 10, PAX: 11 }[format] ?? 0);
      },
    );
  });
});

const pythonArchive = `
import io, sys, tarfile
form = sys.argv[1]
out = io.BytesIO()
with tarfile.open(fileobj=out, mode='w', format=getattr(tarfile, form + '_FORMAT')) as t:
    def add(name, **kw):
        i = tarfile.TarInfo(name)
        data = kw.pop('data', b'')
        i.size = len(data)
        for k, v in kw.items(): setattr(i, k, v)
        t.addfile(i, io.BytesIO(data))
    add('dir', type=tarfile.DIRTYPE, mode=0o755, mtime=1700000000)
    add('dir/file', data=b'x' * 1000, uid=1000, gid=1000, uname='user', gname='group', mtime=1.0)
    add('dir/link', type=tarfile.SYMTYPE, linkname='file')
    add('dir/hard', type=tarfile.LNKTYPE, linkname='dir/file')
    add('dir/pipe', type=tarfile.FIFOTYPE)
    add('dir/dev', type=tarfile.CHRTYPE, devmajor=1, devminor=3)
    if form != 'USTAR':
        add('long/' * 60 + 'name', data=b'long')
        add('symlink', type=tarfile.SYMTYPE, linkname='t' * 200)
        add('owner', uid=1000650000, gid=1000650000, mtime=5000000000)
        add('unicode-\\u00e9-\\u4e2d', data=b'1')
    if form == 'PAX':
        add('xattr', data=b'cap', mtime=1234567890.5, pax_headers={'SCHILY.xattr.user.a': 'b'})
sys.stdout.buffer.write(out.getvalue())
`;
