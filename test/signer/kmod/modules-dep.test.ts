import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { ImageRepository } from '../../../src/registry/image/repository.ts';
import { pathsOfDependencyList } from '../../../src/signer/kmod/modules-dep.ts';
import { signImage } from '../../../src/signer/sign-image.ts';
import { verifyImage } from '../../../src/signer/inspect-image.ts';
import { storeImage, withParents, type TestEntry } from '../../support/images.ts';
import { describeWith } from '../../support/programs.ts';
import { useSigningBench } from '../../support/signing.ts';

const release = '6.1.0-1-test';
const directory = `lib/modules/${release}`;
const bench = useSigningBench();

/** The same list with another name for a module, of the same length. */
function renamed(list: Buffer): Buffer {
  return Buffer.from(list.toString('latin1').replaceAll('hello.ko', 'hello.so'), 'latin1');
}

describeWith(['depmod', 'modprobe'], 'a file that modules.dep names', ({ depmod, modprobe }) => {
  let root: string;
  let text: Buffer;
  let index: Buffer;
  let repository: ImageRepository;
  let count = 0;

  beforeAll(() => {
    root = mkdtempSync(join(tmpdir(), 'kmm-sign-test-'));
    mkdirSync(join(root, directory, 'kernel/drivers'), { recursive: true });
    for (const name of ['hello', 'help', 'zebra'])
      writeFileSync(join(root, directory, `kernel/drivers/${name}.ko`), bench.hello);
    execFileSync(depmod, ['-b', root, release], { stdio: 'pipe' });
    text = read('modules.dep');
    index = read('modules.dep.bin');
  });
  afterAll(() => rmSync(root, { recursive: true, force: true }));

  function read(name: string): Buffer {
    return readFileSync(join(root, directory, name));
  }

  /** Stores an image of some files below the directory of modules, signs it, and gives the states before and after. */
  async function judge(...files: readonly (readonly [string, Buffer | string])[]) {
    const entries = files.flatMap(([path, content]) => withParents(`${directory}/${path}`, content));
    return judgeEntries(entries);
  }

  async function judgeEntries(entries: readonly TestEntry[]) {
    count += 1;
    repository = bench.repository(`vendor/listed-${count}`);
    await storeImage(repository, { layers: [{ entries }] }, 'source');
    const before = await verify('source');
    await signImage({
      source: { repository, selector: { tag: 'source' } },
      destination: { repository, tag: 'signed' },
      signer: bench.key.signer,
    });
    return { before, after: await verify('signed') };
  }

  async function verify(tag: string) {
    const image = { repository, selector: { tag } };
    const certificates = [bench.key.signer.certificate];
    const { platforms, warnings } = await verifyImage({ image, certificates });
    const modules = platforms.flatMap((platform) => platform.modules);
    return { states: Object.fromEntries(modules.map(({ path, state }) => [path, state])), warnings };
  }

  it('is read from the text and the index that depmod writes', () => {
    const names = ['hello', 'help', 'zebra'].map((name) => `kernel/drivers/${name}.ko`);
    expect(pathsOfDependencyList(text).toSorted()).toEqual(names);
    expect(pathsOfDependencyList(index).toSorted()).toEqual(names);
  });

  it('is loaded by modprobe whatever its name is', () => {
    writeFileSync(join(root, directory, 'modules.dep.bin'), renamed(index));
    const options = ['-d', root, '-S', release, '--show-depends', 'hello'];
    const shown = execFileSync(modprobe, options, { encoding: 'utf8' });
    expect(shown.trim()).toBe(`insmod ${join(root, directory, 'kernel/drivers/hello.so')}`);
  });

  it.each([
    ['the index', () => ['modules.dep.bin', renamed(index)] as const],
    ['the text', () => ['modules.dep', renamed(text)] as const],
  ])('is judged and signed whatever its name is: named by %s', async (_, list) => {
    const path = `/${directory}/kernel/drivers/hello.so`;
    const { before, after } = await judge(['kernel/drivers/hello.so', bench.hello], list());
    expect(before.states).toEqual({ [path]: 'unsigned' });
    expect(after.states).toEqual({ [path]: 'trusted' });
  });

  it('is found also when the list is a symbolic link, and in another directory', async () => {
    const { before, after } = await judgeEntries([
      ...withParents('data/list', `/opt/payload: kernel/a.bin\n`),
      { name: `${directory}/modules.dep`, type: 'symlink', linkname: '/data/list' },
      ...withParents('opt/payload', bench.hello),
      ...withParents(`${directory}/kernel/a.bin`, bench.hello),
    ]);
    const paths = ['/opt/payload', `/${directory}/kernel/a.bin`].toSorted();
    expect(Object.keys(before.states).toSorted()).toEqual(paths);
    expect(new Set(Object.values(after.states))).toEqual(new Set(['trusted']));
  });

  it('is skipped when it is not an ELF file or does not exist', async () => {
    const { after } = await judge(
      ['hello.ko', bench.hello],
      ['notes', 'text'],
      ['modules.dep', 'notes: missing\n'],
    );
    expect(after.states).toEqual({ [`/${directory}/hello.ko`]: 'trusted' });
    expect(after.warnings).toEqual([expect.stringContaining(`/${directory}/notes was skipped`)]);
  });

  it('of any bytes is read in bounded time, whatever they are', () => {
    const edits = fc.array(fc.tuple(fc.nat(index.length - 1), fc.nat(255)), { maxLength: 8 });
    fc.assert(
      fc.property(edits, (changes) => {
        const bytes = Buffer.from(index);
        for (const [at, value] of changes) bytes[at] = value;
        expect(pathsOfDependencyList(bytes).length).toBeLessThan(1000);
      }),
    );
  });
});
