import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { findOldNode } from './old-node.ts';

const execute = promisify(execFile);
const root = fileURLToPath(new URL('../..', import.meta.url));
const old = findOldNode();

/** Milliseconds that packing and installing may take; the Node that comes with the package has 150 MB. */
const patience = 400_000;

describe('the package', () => {
  let folder: string;
  let before: string;
  const at = (...path: string[]) => join(folder, ...path);

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kmm-sign-test-'));
    before = await readFile(join(root, 'package.json'), 'utf8');
    await execute(process.execPath, [join(root, 'scripts', 'pack.js'), folder], { cwd: root });
    const archives = (await readdir(folder)).filter((name) => name.endsWith('.tgz'));
    await writeFile(at('package.json'), '{}');
    const options = ['--prefer-offline', '--no-audit', '--no-fund'];
    await execute('npm', ['install', ...options, ...archives.map((name) => `./${name}`)], { cwd: folder });
  }, patience);

  afterAll(async () => {
    await rm(folder, { recursive: true, force: true });
  });

  async function installed(): Promise<string[]> {
    const { stdout } = await execute('npm', ['query', '*'], { cwd: folder });
    const packages: unknown = JSON.parse(stdout);
    if (!Array.isArray(packages)) throw new TypeError('npm query lists packages');
    const names = packages.flatMap(({ name, location }: { name?: string; location?: string }) =>
      location === '' || name === undefined ? [] : [name],
    );
    return [...new Set(names)].toSorted();
  }

  test('brings itself, and Node with the packages that fetch it', async () => {
    const names = await installed();
    expect(names.filter((name) => !name.startsWith('node-'))).toEqual(['kmm-sign', 'node']);
    expect(names.filter((name) => name.startsWith('node-')).length).toBeLessThanOrEqual(2);
  });

  test('has its programs, its types and no source maps', async () => {
    const files = await readdir(at('node_modules', 'kmm-sign'), { recursive: true });
    const dist = ['cli.cjs', 'cli.cjs.cache', 'cli.cjs.asking.cache', 'operator.js', 'types/index.d.ts'].map(
      (name) => `dist/${name}`,
    );
    expect(files).toEqual(expect.arrayContaining(['bin/kmm-sign.js', ...dist]));
    expect(files.filter((name) => name.endsWith('.map') || name.endsWith('metafile.json'))).toEqual([]);
  });

  test('leaves the manifest of the checkout as it was', async () => {
    expect(await readFile(join(root, 'package.json'), 'utf8')).toBe(before);
  });

  test('shows its demonstration', async () => {
    const { stdout } = await execute(process.execPath, [at('node_modules/kmm-sign/bin/kmm-sign.js'), 'demo']);
    expect(stdout).toContain('hello.ko: trusted');
  });

  test('gives the library to whoever imports it', async () => {
    const code = "console.log(Object.keys(await import('kmm-sign')).includes('signImage'))";
    const args = ['--input-type=module', '--eval', code];
    expect((await execute(process.execPath, args, { cwd: folder })).stdout).toBe('true\n');
  });

  test.skipIf(old === undefined)('runs on an old Node by the Node that came with it', async () => {
    const program = at('node_modules/.bin/kmm-sign');
    const { stdout } = await execute(old?.path ?? '', [program, 'version', '--format', 'json']);
    expect(JSON.parse(stdout)).toMatchObject({ node: process.versions.node });
  });

  test('is not packed from the checkout by mistake', async () => {
    await expect(execute('npm', ['pack', '--dry-run'], { cwd: root })).rejects.toThrow('npm run package');
  });
});
