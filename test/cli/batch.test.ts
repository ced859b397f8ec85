import { chmod, chown, mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type DemoRegistry, startDemoRegistry } from './demo-registry.ts';
import { type Finished, runProgram, type RunOptions } from './run-program.ts';

let registry: DemoRegistry;
let directory: string;
let vendor: string;
let count = 0;

beforeAll(async () => {
  registry = await startDemoRegistry();
  directory = await mkdtemp(join(tmpdir(), 'kmm-sign-test-'));
  vendor = `${registry.address}/vendor/driver:1.0`;
});

afterAll(async () => {
  await registry[Symbol.asyncDispose]();
  await rm(directory, { recursive: true, force: true });
});

const keys = () => ['--key', registry.key, '--cert', registry.certificate, '--plain-http', '--retries', '0'];

/** A name that no image has yet. */
const fresh = () => `${registry.address}/signed/fresh-${(count += 1)}:1`;

/** Signs a list given as a file. */
async function batch(list: string, args: readonly string[] = [], options?: RunOptions): Promise<Finished> {
  const file = join(directory, `list-${(count += 1)}`);
  await writeFile(file, list);
  return runProgram(['sign', '--batch', file, ...keys(), ...args], options);
}

const documents = (text: string): Record<string, unknown>[] =>
  text
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Record<string, unknown>);

/** The digest that a tag names; null if there is none. */
async function digestOf(image: string): Promise<string | null> {
  const { stdout, exitCode } = await runProgram(['resolve', image, '--plain-http']);
  return exitCode === 0 ? stdout.trim() : null;
}

describe('a list of images', () => {
  test('is signed in one run, with a report on each', async () => {
    const [one, two] = [fresh(), fresh()];
    const list = `# drivers\n\n  ${vendor}\t${one}  \n${vendor} ${two}\r\n`;
    const { stdout, stderr, exitCode } = await batch(list, ['--format', 'json']);
    expect(exitCode).toBe(0);
    expect(documents(stdout)).toEqual([
      expect.objectContaining({ schemaVersion: 1, line: 3, status: 'signed', destination: one }),
      expect.objectContaining({ schemaVersion: 1, line: 4, status: 'signed', destination: two }),
    ]);
    const digests = documents(stdout).map(({ digest }) => digest);
    expect(await Promise.all([one, two].map(digestOf))).toEqual(digests);
    expect(stderr).toContain(`Line 3: ${vendor} (1 of 2)`);
    expect(stderr).toContain(`Line 4: ${vendor} (2 of 2)`);
  });

  test('is read from stdin', async () => {
    const image = fresh();
    const { stdout, exitCode } = await runProgram(['sign', '--batch', '-', ...keys(), '--quiet'], {
      input: `${vendor} ${image}`,
    });
    expect(exitCode).toBe(0);
    expect(stdout.trimEnd().split('\n').at(-1)).toBe(`${image.slice(0, -2)}@${await digestOf(image)}`);
  });

  test('goes on after an image that fails, which is named by its line; the exit code is that of the first', async () => {
    const [one, two, three] = [fresh(), fresh(), fresh()];
    const missing = `${registry.address}/vendor/nothing:1`;
    const list = `${missing} ${one}\n${vendor} ${two}\n${vendor} ${three.slice(0, -2)}@sha256:${'0'.repeat(64)}\n`;
    const { stdout, stderr, exitCode } = await batch(list, ['--format', 'json', '--quiet']);
    expect(exitCode).toBe(3);
    expect(documents(stdout)).toEqual([expect.objectContaining({ line: 2 })]);
    expect(documents(stderr)).toEqual([
      { schemaVersion: 1, error: expect.objectContaining({ code: 'NOT_FOUND', exitCode: 3 }) as object },
      { schemaVersion: 1, error: expect.objectContaining({ code: 'USAGE', facts: { line: 3 } }) as object },
    ]);
    expect(await Promise.all([one, two, three].map(digestOf))).toEqual([null, expect.any(String), null]);
    expect((await batch(list)).stderr).toMatch(
      /^kmm-sign: Line 1: .*\n[^]*2 images of 3 could not be signed/m,
    );
  });

  test('ends at the first failure with --fail-fast', async () => {
    const [one, two] = [fresh(), fresh()];
    const list = `${registry.address}/vendor/nothing:1 ${one}\n${vendor} ${two}\n`;
    expect((await batch(list, ['--fail-fast'])).exitCode).toBe(3);
    expect(await digestOf(two)).toBeNull();
  });

  test.each([
    [
      'with one destination twice',
      (image: string) => `${vendor} ${image}\n${vendor} docker://${image}\n`,
      'Lines 1 and 2',
    ],
    ['with a word too few', (image: string) => `${vendor} ${image}\n${vendor}\n`, 'Line 2 has 1 words'],
    [
      'with a word too many',
      (image: string) => `${vendor} ${image}\n${vendor} x.example/y z\n`,
      'Line 2 has 3 words',
    ],
    [
      'with what is no reference',
      (image: string) => `${vendor} ${image}\n${vendor} a.example/UPPER\n`,
      'Line 2: ',
    ],
    [
      'with a line that is too long',
      (image: string) => `${vendor} ${image}\n${'x'.repeat(5000)}`,
      'Line 2 has more than',
    ],
    ['without images', () => '# nothing\n', 'names no image'],
    ['that is too large', (image: string) => `${vendor} ${image}\n${'#\n'.repeat(5e6)}`, 'has more than'],
  ])('%s is refused before anything is written', async (_what, list, message) => {
    const image = fresh();
    const { stderr, exitCode } = await batch(list(image));
    expect(stderr).toContain(message);
    expect(exitCode).toBe(2);
    expect(await digestOf(image)).toBeNull();
  });

  test.each([
    ['images as arguments', ['a.example/x', 'b.example/y']],
    ['a file for one digest', ['--digest-file', 'digest']],
  ])('does not go together with %s', async (_what, args) => {
    const { stderr, exitCode } = await batch(`${vendor} ${fresh()}\n`, args);
    expect(exitCode).toBe(2);
    expect(stderr).toContain('--batch');
  });

  test('that cannot be read is an error', async () => {
    const { stderr, exitCode } = await runProgram(['sign', '--batch', join(directory, 'none'), ...keys()]);
    expect(stderr).toContain('none cannot be read (ENOENT)');
    expect(exitCode).toBe(1);
  });
});

/** Signs the vendor's image, and returns what the report says of layers. */
async function layers(args: readonly string[], options: RunOptions) {
  const run = await runProgram(['sign', vendor, fresh(), ...keys(), '--format', 'json', ...args], options);
  expect(run.exitCode).toBe(0);
  const [platform] = (
    JSON.parse(run.stdout) as { platforms: { layersRead: number; layersKnown: string[] }[] }
  ).platforms;
  return { read: platform?.layersRead ?? 0, known: platform?.layersKnown.length ?? 0, stderr: run.stderr };
}

describe('what layers contain', () => {
  test('is known to the next run, in XDG_CACHE_HOME or below HOME, unless --no-cache', async () => {
    const home = join(directory, 'home');
    await mkdir(home);
    const cache = join(directory, 'cache');
    for (const [env, place] of [
      [{ HOME: home, XDG_CACHE_HOME: '' }, join(home, '.cache')],
      [{ HOME: home, XDG_CACHE_HOME: cache }, cache],
    ] as const) {
      const first = await layers(['--no-cache'], { env });
      expect(first.known).toBe(0);
      await expect(stat(join(place, 'kmm-sign'))).rejects.toMatchObject({ code: 'ENOENT' });
      expect(await layers([], { env })).toMatchObject({ read: first.read, known: 0 });
      const second = await layers([], { env });
      expect(second.known).toBeGreaterThan(0);
      expect(second.read + second.known).toBe(first.read);
      expect(second.stderr).toContain('is known');
      expect(await readdir(join(place, 'kmm-sign', 'layers'))).toHaveLength(second.known);
      expect(await layers(['--no-cache'], { env })).toMatchObject({ read: first.read, known: 0 });
    }
  });

  test('is not kept where there is no place for it, without a word', async () => {
    const file = join(directory, 'file');
    await writeFile(file, '');
    for (const env of [
      { HOME: '', XDG_CACHE_HOME: '' },
      { HOME: '/dev/null', XDG_CACHE_HOME: '' },
      { XDG_CACHE_HOME: file },
      { XDG_CACHE_HOME: '/proc' },
    ]) {
      const { stderr } = await layers([], { env });
      expect(stderr).not.toMatch(/cache|warn/i);
      expect(await layers([], { env })).toMatchObject({ known: 0 });
    }
  });

  test.skipIf(process.getuid?.() !== 0)(
    'is kept on a volume that belongs to root, if the group of the process may write to it',
    async () => {
      const volume = join(directory, 'volume');
      await mkdir(volume);
      await chown(volume, 0, 2000);
      await chmod(volume, 0o2775);
      // It may read the checkout, wherever that is, but write only what an ordinary user may.
      const capability = ['--inh-caps=-all,+dac_read_search', '--ambient-caps=+dac_read_search'];
      const user = ['--reuid=65532', '--regid=65532', '--groups=2000', ...capability];
      const through = ['setpriv', ...user, '--'];
      const options = { through, env: { XDG_CACHE_HOME: volume, TMPDIR: '/tmp' } };
      expect(await layers([], options)).toMatchObject({ known: 0 });
      const second = await layers([], options);
      expect(second.known).toBeGreaterThan(0);
      const made = join(volume, 'kmm-sign');
      expect(await stat(made)).toMatchObject({ uid: 65_532, gid: 2000, mode: 0o42700 });
      // What a kubelet does at each mount unless it is told to look at the root only.
      await chmod(join(made, 'layers'), 0o2770);
      expect(await layers([], options)).toMatchObject({ known: 0, read: second.read + second.known });
    },
  );

  test('is kept by several processes at once', async () => {
    const env = { XDG_CACHE_HOME: join(directory, 'shared') };
    await Promise.all(Array.from({ length: 4 }, () => layers([], { env })));
    const after = await layers([], { env });
    expect(after.known).toBeGreaterThan(0);
    expect(await readdir(join(env.XDG_CACHE_HOME, 'kmm-sign', 'layers'))).toHaveLength(after.known);
  });
});
