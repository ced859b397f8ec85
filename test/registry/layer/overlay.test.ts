import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { defaultOverlayLimits, type OverlayLimits } from '../../../src/registry/layer/step-budget.ts';
import { Overlay, type Resolution } from '../../../src/registry/layer/overlay.ts';
import { anyPath, anyStack, filesOf, overlayOf } from '../../support/tar-stacks.ts';

/** What a path names; where the views differ, in both of them, overlayfs first. */
function describePath(overlay: Overlay, wanted: string): string {
  return overlay.resolve(wanted).map(describeResolution).join(' | ');
}

function describeResolution(resolution: Resolution): string {
  switch (resolution.state) {
    case 'file':
      return `${resolution.file.entry.layer}:${resolution.file.entry.index}`;
    case 'other':
      return resolution.type;
    case 'absent':
    case 'undecided':
      return resolution.state;
  }
}

async function resolveOrRefuse(
  stack: readonly (readonly string[])[],
  wanted: string,
  count = stack.length,
): Promise<string> {
  try {
    return describePath(await overlayOf(stack, count), wanted);
  } catch {
    return 'refused';
  }
}

describe('the files that a container sees', () => {
  test.each<[string, string[][], string[]]>([
    ['of one layer', [['a/', 'a/b', 'c']], ['/a/b 0:1', '/c 0:2']],
    ['of an upper layer replace those of a lower', [['a'], ['a']], ['/a 1:0']],
    ['are the last of those with the same name', [['a', 'a']], ['/a 0:1']],
    ['do not need entries for their directories', [['a/b/c']], ['/a/b/c 0:0']],
    ['are gone after a whiteout', [['a', 'b'], ['.wh.a']], ['/b 0:1']],
    ['are gone with their directory', [['d/', 'd/x', 'd/y/z'], ['.wh.d']], []],
    ['stay when the whiteout is of their own layer', [['a'], ['a', '.wh.a']], ['/a 1:0']],
    ['stay when the whiteout comes first', [['a'], ['.wh.a', 'a']], ['/a 1:1']],
    ['come back in a layer above the whiteout', [['d/x'], ['.wh.d'], ['d/y']], ['/d/y 2:0']],
    [
      'of a touched directory stay, those from below go',
      [
        ['d/x', 'd/y'],
        ['d/y', '.wh.d'],
      ],
      ['/d/y 1:0'],
    ],
    [
      'are hidden by an opaque directory',
      [
        ['d/x', 'd/e/y', 'f'],
        ['d/', 'd/.wh..wh..opq'],
      ],
      ['/f 0:2'],
    ],
    [
      'beside an opaque marker stay',
      [['d/x'], ['d/', 'd/y', 'd/.wh..wh..opq', 'd/z']],
      ['/d/y 1:1', '/d/z 1:3'],
    ],
    [
      'of the root can be hidden, too',
      [
        ['a', 'b/c'],
        ['.wh..wh..opq', 'd'],
      ],
      ['/d 1:1'],
    ],
    ['are gone when a file replaces the directory', [['d/x'], ['d']], ['/d 1:0']],
    ['are gone when a link replaces the directory', [['d/x'], ['d -> e']], []],
    ['stay when the directory comes again', [['d/', 'd/x'], ['d/']], ['/d/x 0:1']],
    [
      'follow a link of a parent directory',
      [['usr/lib/a', 'lib -> usr/lib'], ['lib/b']],
      ['/usr/lib/a 0:0', '/usr/lib/b 1:0'],
    ],
    ['are replaced through a link', [['usr/lib/a', 'lib -> usr/lib'], ['lib/a']], ['/usr/lib/a 1:0']],
    ['are hidden through a link', [['usr/lib/a', 'lib -> usr/lib'], ['lib/.wh.a']], []],
    [
      'are separate when a directory replaces the link',
      [
        ['usr/lib/a', 'lib -> usr/lib'],
        ['lib/', 'lib/b'],
      ],
      ['/lib/b 1:1', '/usr/lib/a 0:0'],
    ],
    [
      'follow a link that would leave the root',
      [['l -> ../../../d', 'd/a'], ['l/b']],
      ['/d/a 0:1', '/d/b 1:0'],
    ],
    ['follow an absolute link within the root', [['x/l -> /d', 'd/'], ['x/l/b']], ['/d/b 1:0']],
    ['follow a link to what does not exist yet', [['l -> new/dir'], ['l/b']], ['/new/dir/b 1:0']],
    ['are a whiteout of something that is not there', [['a'], ['.wh.b', 'c/.wh.d']], ['/a 0:0']],
    ['replace a file of a lower layer that was a parent', [['a'], ['a/b']], ['/a/b 1:0']],
  ])('%s', async (_, layers, expected) => {
    expect(await filesOf(await overlayOf(layers), 'extraction')).toEqual(expected);
  });

  test('with several names are one file, called by the name of its entry', async () => {
    const overlay = await overlayOf([['b', 'dir/c => b'], ['a => dir/c']]);
    expect(await overlay.files(() => true)).toEqual([
      {
        path: '/b',
        names: ['/a', '/b', '/dir/c'],
        differs: undefined,
        entry: expect.objectContaining({ layer: 0, index: 0 }),
      },
    ]);
  });

  test('are called by a remaining name when that of the entry is gone', async () => {
    const overlay = await overlayOf([['b', 'd => b', 'c => b'], ['.wh.b']]);
    const files = await overlay.files(() => true);
    expect(files.map(({ path, names }) => [path, names])).toEqual([['/c', ['/c', '/d']]]);
  });

  test('keep the content of a hard link whose other name is replaced', async () => {
    const overlay = await overlayOf([['a', 'b => a'], ['a']]);
    expect(await filesOf(overlay, 'extraction')).toEqual(['/a 1:0', '/b 0:0']);
  });
});

describe('what no runtime could extract is refused', () => {
  test.each<[string, string[][]]>([
    ['a hard link to nothing', [['a => b']]],
    ['a hard link to itself', [['a'], ['a => a']]],
    ['a hard link to a directory', [['d/', 'a => d']]],
    ['a hard link to what a whiteout removed', [['b'], ['.wh.b', 'a => b']]],
    ['an entry below a file of the same layer', [['a', 'a/b']]],
    ['an entry below links in a circle', [['a -> b', 'b -> a', 'a/x']]],
    ['a whiteout of its own directory', [['d/.wh..']]],
    ['a whiteout of the directory above', [['d/.wh...']]],
    ['a whiteout without a name', [['.wh.']]],
    ['a path longer than Linux allows', [['d/'.repeat(2048) + 'f']]],
  ])('%s', async (_, layers) => {
    await expect(overlayOf(layers)).rejects.toMatchObject({ code: 'INVALID_LAYER' });
  });
});

describe('resolving a path', () => {
  const directories = ['usr/', 'usr/lib/', 'usr/lib/modules/'];
  const links = ['abs -> /usr/lib/modules/x.ko', 'chain -> abs', 'dangling -> nowhere/x', 'a -> b', 'b -> a'];
  let overlay: Overlay;
  beforeAll(async () => {
    overlay = await overlayOf([
      [...directories, 'usr/lib/modules/x.ko', 'lib -> usr/lib', 'bin/', '!pipe', ...links, 'up -> ../../..'],
    ]);
  });

  test.each([
    ['/usr/lib/modules/x.ko', '0:3'],
    ['/lib/modules/x.ko', '0:3'],
    ['lib//modules/./x.ko', '0:3'],
    ['/bin/../lib/modules/x.ko', '0:3'],
    ['/../../lib/modules/x.ko', '0:3'],
    ['/up/lib/modules/x.ko', '0:3'],
    ['/chain', '0:3'],
    ['/pipe', 'fifo'],
    ['/lib', 'directory'],
    ['/', 'directory'],
    ['/dangling', 'symlink'],
    ['/a', 'symlink'],
    ['/dangling/y', 'absent'],
    ['/lib/y', 'absent'],
    ['/pipe/y', 'absent'],
    ['/usr/lib/modules/x.ko/y', 'absent'],
  ])('%s is %s', (path, expected) => {
    expect(describePath(overlay, path)).toBe(expected);
  });

  test('returns the physical path of a file, not the requested one', () => {
    expect(overlay.resolve('/lib/modules/x.ko')).toMatchObject([
      { file: { path: '/usr/lib/modules/x.ko', names: ['/usr/lib/modules/x.ko'] } },
    ]);
  });

  test('lists the links that lead to files', async () => {
    const leading = await overlay.symlinks((name) => name !== 'chain');
    expect(leading.map(({ path, file }) => [path, file.path])).toEqual([['/abs', '/usr/lib/modules/x.ko']]);
  });

  test('returns the physical path of a directory', () => {
    expect(overlay.realDirectories('/lib/modules')).toEqual(['/usr/lib/modules']);
    expect(overlay.realDirectories('/')).toEqual(['/']);
    expect(overlay.realDirectories('/chain')).toEqual([]);
    expect(overlay.realDirectories('/nowhere')).toEqual([]);
  });
});

describe('before all layers are read', () => {
  const modules = ['opt/', 'opt/m/', 'opt/m/x.ko'];

  test.each<[string, string[], string, string]>([
    ['a file whose directories all have entries is decided', modules, '/opt/m/x.ko', '2:2'],
    ['a file whose directory has no entry is not', ['opt/m/x.ko'], '/opt/m/x.ko', 'undecided'],
    ['another file of a directory is not', modules, '/opt/m/y.ko', 'undecided'],
    ['another file of an opaque directory is', [...modules, 'opt/m/.wh..wh..opq'], '/opt/m/y.ko', 'absent'],
    ['a file below a removed name is', ['.wh.opt'], '/opt/m/x.ko', 'absent'],
    [
      'a file in a directory that replaces a removed one is not, since overlayfs shows those below',
      ['.wh.opt', 'opt/', 'opt/x'],
      '/opt/y',
      'undecided',
    ],
    ['a file with an unplaced namesake is not', [...modules, 'srv/x.ko'], '/opt/m/x.ko', 'undecided'],
    [
      'a file with an unplaced namesake of its directory is not',
      [...modules, 'srv/opt -> /etc'],
      '/opt/m/x.ko',
      'undecided',
    ],
    [
      'a file with an unplaced whiteout of its name is not',
      [...modules, 'srv/.wh.x.ko'],
      '/opt/m/x.ko',
      'undecided',
    ],
    [
      'a file of the same layer as an unplaced opaque marker is not',
      [...modules, 'srv/.wh..wh..opq'],
      '/opt/m/x.ko',
      'undecided',
    ],
    ['a hard link to a file in sight is', [...modules, 'l => opt/m/x.ko'], '/l', '2:2'],
    ['a hard link to a file out of sight is not', [...modules, 'l => opt/m/y.ko'], '/l', 'undecided'],
    ['a link to a file in sight is', [...modules, 'l -> opt/m/x.ko'], '/l', '2:2'],
    ['a link to a file out of sight is not', ['l -> opt/m/x.ko'], '/l', 'undecided'],
    ['a directory in sight is', modules, '/opt/m', 'directory'],
  ])('%s', async (_, top, path, expected) => {
    expect(describePath(await overlayOf([[], [], top], 1), path)).toBe(expected);
  });

  test('a file below an unplaced opaque marker of a higher layer is not decided', async () => {
    const overlay = await overlayOf([[], modules, ['srv/.wh..wh..opq']], 2);
    expect(describePath(overlay, '/opt/m/x.ko')).toBe('undecided');
  });

  test('a directory that replaces a whiteout of its layer is undecided', async () => {
    const stack = [[], ['c/', 'c/a/'], ['.wh.c', 'c/b']];
    expect(describePath(await overlayOf(stack, 2), '/c/a')).toBe('undecided');
    expect(describePath(await overlayOf(stack), '/c/a')).toBe('directory | absent');
  });

  test('a directory that replaces a file of its layer is undecided', async () => {
    const stack = [[], ['b/', 'b/c/'], ['b', 'b/', 'b/a']];
    expect(describePath(await overlayOf(stack, 2), '/b/c')).toBe('undecided');
    expect(describePath(await overlayOf(stack), '/b/c')).toBe('directory | absent');
  });

  test('an entry in a directory that an unplaced one may have replaced may be anywhere', async () => {
    const stack = [[], ['usr/', 'usr/x.ko', 'opt/', 'srv/opt -> ../usr'], ['opt/x.ko']];
    expect(describePath(await overlayOf(stack, 2), '/usr/x.ko')).toBe('undecided');
  });

  test('listing all files is an error of the caller', async () => {
    const overlay = await overlayOf([[], modules], 1);
    await expect(filesOf(overlay, 'overlayfs')).rejects.toThrow(RangeError);
  });

  test('whatever is decided stays so in both views when the lower layers come', async () => {
    const decided: string[] = [];
    await fc.assert(
      fc.asyncProperty(anyStack, anyPath, fc.boolean(), async (stack, wanted, complete) => {
        const layers = complete ? stack.map(withDirectories) : stack;
        const final = await resolveOrRefuse(layers, wanted);
        fc.pre(final !== 'refused');
        for (let count = 1; count < layers.length; count++) {
          const early = await resolveOrRefuse(layers, wanted, count);
          if (early !== 'undecided') decided.push(early);
          expect(early === 'undecided' || early === final, `${early} became ${final}`).toBe(true);
        }
      }),
      { numRuns: 10_000, maxSkipsPerRun: 1000 },
    );
    expect(decided.filter((state) => /^[0-9]/.test(state)).length).toBeGreaterThan(200);
  }, 120_000);
});

/** Puts an entry for each directory of an entry's path before it, as builders of images do. */
function withDirectories(layer: readonly string[]): string[] {
  return layer.flatMap((text) => {
    const path = /^[!]?([^ ]*?)\/?( |$)/.exec(text)?.[1] ?? '';
    const parts = path.split('/').slice(0, -1);
    return [...parts.map((_, index) => `${parts.slice(0, index + 1).join('/')}/`), text];
  });
}

function numbered(count: number, name: (index: number) => string): string[] {
  return Array.from({ length: count }, (_, index) => name(index));
}

describe('what is made to take memory or time is refused', () => {
  test.each<[string, Partial<OverlayLimits>, string[][]]>([
    [
      'entries of all layers together',
      { maxEntries: 40 },
      [numbered(21, () => 'a'), numbered(20, () => 'b')],
    ],
    ['paths', { maxPaths: 60 }, [numbered(30, (index) => `d${index}/f`)]],
    ['long names', { maxNameCharacters: 400 }, [numbered(5, (index) => `${index}${'n'.repeat(90)}`)]],
    ['long links', { maxLinkCharacters: 400 }, [numbered(5, (index) => `l${index} -> ${'t'.repeat(90)}`)]],
    [
      'steps of links',
      { maxSteps: 500 },
      [['s -> .', ...numbered(30, (index) => `${'s/'.repeat(20)}f${index}`)]],
    ],
    ['deep paths', {}, [['d/'.repeat(256) + 'f']]],
    ['deep paths by way of links', {}, [[`s -> ${'d/'.repeat(200)}`, `s/${'e/'.repeat(100)}f`]]],
  ])('%s', async (_, own, stack) => {
    const overlay = overlayOf(stack, stack.length, { limits: { ...defaultOverlayLimits, ...own } });
    await expect(overlay).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' });
  });

  test('names that are looked for', async () => {
    const overlay = await overlayOf([numbered(11, (index) => `${index}.ko`)], 1, {
      limits: { ...defaultOverlayLimits, maxNames: 10 },
    });
    await expect(overlay.files((name) => name.endsWith('.ko'))).rejects.toMatchObject({
      code: 'LIMIT_EXCEEDED',
    });
    expect(await overlay.files((name) => name === '1.ko')).toHaveLength(1);
  });

  test('links that take long can be aborted on the way', async () => {
    const chain = numbered(38, (index) => `t${index} -> ${'z/../'.repeat(600)}t${index + 1}`);
    const files = numbered(300, (index) => `t0/f${index}`);
    const abort = new AbortController();
    const adding = overlayOf([['z/', ...chain, 't38 -> z', ...files]], 1, { signal: abort.signal });
    setImmediate(() => abort.abort(new Error('enough')));
    await expect(adding).rejects.toThrow('enough');
  });

  test('every layer is put on once, however often something is looked up', async () => {
    const layers = 30;
    const entries = 100;
    // Each entry is walked to twice, three steps each, and each look takes two or three.
    const limits = { ...defaultOverlayLimits, maxSteps: layers * (entries * 8 + 10) };
    const overlay = new Overlay({ layers, limits: limits });
    for (let layer = layers - 1; layer >= 0; layer--) {
      const list = overlay.list(layer);
      for (let index = 0; index < entries; index++)
        list.add({ path: `usr/l${layer}/f${index}`, type: 'file', linkName: '' });
      await overlay.addLayer(list);
      expect(overlay.resolve('/usr/l0/f0')[0].state).toBe(layer === 0 ? 'file' : 'undecided');
    }
  });
});
