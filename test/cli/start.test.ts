import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmod,
  chown,
  cp,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createTemporaryDirectory } from '../../src/shared/temporary.ts';
import { describeWith } from '../support/programs.ts';
import { type DemoRegistry, startDemoRegistry } from './demo-registry.ts';
import { program, runProgram } from './run-program.ts';

const execute = promisify(execFile);
const root = fileURLToPath(new URL('../..', import.meta.url));

/** Built-in modules of Node that take a millisecond or more to load. */
const heavy = [
  'child_process',
  'crypto',
  'dns',
  'fs/promises',
  'https',
  'internal/webstreams/readablestream',
  'tls',
  'v8',
  'worker_threads',
  'zlib',
];

async function digestOfFile(path: string): Promise<string> {
  return createHash('sha256')
    .update(await readFile(path))
    .digest('hex');
}

/** Of these files, those of this package. */
function ours(opened: readonly string[]): string[] {
  const files = opened.flatMap((path) => (path.startsWith(root) ? [path.slice(root.length)] : []));
  const own = files.filter((path) => !path.endsWith('package.json') && !path.startsWith('node_modules/'));
  return [...new Set(own)].toSorted();
}

describe('what is loaded to start', () => {
  let directory: string;
  let registry: DemoRegistry;
  const at = (name: string) => join(directory, name);

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'kmm-sign-test-'));
    registry = await startDemoRegistry();
    const list = "process.moduleLoadList.join('\\n')";
    await writeFile(
      at('record.cjs'),
      `process.on('exit', () => require('node:fs').writeFileSync(process.env.RECORD, ${list}));`,
    );
  });

  afterAll(async () => {
    await registry?.[Symbol.asyncDispose]();
    await rm(directory, { recursive: true, force: true });
  });

  /** Runs the program; returns the built-in modules that it has loaded. */
  async function loadedBy(...args: readonly string[]): Promise<string[]> {
    const env = { NODE_OPTIONS: `--require=${at('record.cjs')}`, RECORD: at('loaded') };
    expect(await runProgram(args, { env })).toMatchObject({ exitCode: 0, stderr: '' });
    const lines = (await readFile(at('loaded'), 'utf8')).split('\n');
    return lines.flatMap((line) => /^NativeModule (.*)$/.exec(line)?.slice(1) ?? []);
  }

  test('resolve over plain HTTP loads neither TLS nor anything else that it does not use', async () => {
    const loaded = await loadedBy('resolve', '--plain-http', `${registry.address}/vendor/driver:1.0`);
    expect(loaded).toContain('http');
    expect(heavy.filter((name) => loaded.includes(name))).toEqual([]);
    expect(loaded.length).toBeLessThan(125);
  });

  test('sign over plain HTTP does not load TLS either', async () => {
    const names = [`${registry.address}/vendor/driver:1.0`, `${registry.address}/test/start:1`];
    const keys = ['--key', registry.key, '--cert', registry.certificate];
    const loaded = await loadedBy('sign', '--plain-http', '--quiet', ...names, ...keys);
    expect(loaded).toContain('http');
    expect(heavy.filter((name) => loaded.includes(name))).toEqual(['crypto', 'fs/promises', 'zlib']);
  });
});

describeWith(['strace'], 'the files that are opened to start', ({ strace }) => {
  let directory: string;
  let registry: DemoRegistry;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'kmm-sign-test-'));
    registry = await startDemoRegistry();
  });

  afterAll(async () => {
    await registry?.[Symbol.asyncDispose]();
    await rm(directory, { recursive: true, force: true });
  });

  /** Runs the program; returns the files that it opened. */
  async function openedBy(...args: readonly string[]): Promise<string[]> {
    const log = join(directory, 'log');
    const through = [strace, '-f', '-qq', '-e', 'trace=open,openat', '-o', log];
    expect(await runProgram(args, { through })).toMatchObject({ exitCode: 0 });
    const opened = (await readFile(log, 'utf8')).matchAll(/"([^"]+)", [^)]*\) = \d/g);
    return [...opened].map(([, path = '']) => path);
  }

  const launched = ['bin/kmm-sign.js', 'bin/launch.js', 'dist/cli.cjs'];

  test('are the launcher, the program and its compiled code', async () => {
    expect(ours(await openedBy('version'))).toEqual([...launched, 'dist/cli.cjs.cache']);
  });

  test('are, to resolve, less compiled code and nothing of a user or of TLS', async () => {
    const opened = await openedBy('resolve', '--plain-http', `${registry.address}/vendor/driver:1.0`);
    expect(ours(opened)).toEqual([...launched, 'dist/cli.cjs.asking.cache']);
    expect(opened.filter((path) => /certs|\.pem|\.crt|\.docker|containers|\.map$/.test(path))).toEqual([]);
    const [small, all] = await Promise.all(
      ['dist/cli.cjs.asking.cache', 'dist/cli.cjs.cache'].map(async (name) => stat(join(root, name))),
    );
    expect(small?.size).toBeLessThan(0.7 * (all?.size ?? 0));
  });
});

describe('compiled code', () => {
  let directory: string;
  const at = (name: string) => join(directory, name);

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'kmm-sign-test-'));
    await cp(dirname(program), at('bin'), { recursive: true });
    await writeFile(at('package.json'), '{ "type": "module" }');
    await cp(join(root, 'dist/cli.cjs'), at('dist/cli.cjs'));
    await cp(join(root, 'dist/cli.cjs.cache'), at('dist/cli.cjs.cache'));
    await symlink(process.execPath, at('node'));
  });

  afterAll(() => rm(directory, { recursive: true, force: true }));

  const home = () => ({ HOME: at('home') });
  const kept = () => at('home/.cache/kmm-sign/compiled');
  const file = () => join(kept(), 'cli.cjs.asking.cache');

  /** Runs a copy of the program with a Node at another place. It must end well, and say nothing on stderr. */
  async function runCopy(
    args: readonly string[],
    env: NodeJS.ProcessEnv = {},
    through: readonly string[] = [],
  ) {
    const [first = '', ...words] = [...through, at('node'), at('bin/kmm-sign.js'), ...args];
    const { stdout, stderr } = await execute(first, words, {
      env: { PATH: process.env['PATH'], ...env },
      // What never ends does not listen to other signals either.
      timeout: 20_000,
      killSignal: 'SIGKILL',
    });
    expect(stderr).toBe('');
    return stdout;
  }

  const version = () => runCopy(['--version']);

  test('of another bundle of the same length is not run', async () => {
    const before = await version();
    const text = await readFile(at('dist/cli.cjs'), 'utf8');
    const number = before.trim();
    const other = number.replace(/^\d/, '9');
    const digestChanged = text.replaceAll(`"${number}"`, `"${other}"`).replace(/\w\n$/, 'x\n');
    expect(digestChanged).toHaveLength(text.length);
    await writeFile(at('dist/cli.cjs'), digestChanged);
    expect(await version()).toBe(`${other}\n`);
  });

  test('that is damaged or missing is made anew', async () => {
    const whole = await readFile(at('dist/cli.cjs.cache'));
    await writeFile(at('dist/cli.cjs.cache'), whole.subarray(0, 100));
    expect(await version()).toMatch(/^\d/);
    await rm(at('dist/cli.cjs.cache'));
    expect(await version()).toMatch(/^\d/);
  });

  describeWith(['strace'], 'of a user whose Node is another than the package has code for', ({ strace }) => {
    let registry: DemoRegistry;
    let image: string;

    beforeAll(async () => {
      await rm(at('dist/cli.cjs.cache'), { force: true });
      registry = await startDemoRegistry();
      image = `${registry.address}/vendor/driver:1.0`;
    });

    beforeEach(async () => {
      await rm(at('home'), { recursive: true, force: true });
      await mkdir(at('home'));
    });

    afterAll(() => registry?.[Symbol.asyncDispose]());

    const resolve = (...through: string[]) => runCopy(['resolve', '--plain-http', image], home(), through);

    test('is kept by the first run, for the user alone, and read by the next', async () => {
      await resolve();
      const [keptIn, first] = await Promise.all([stat(kept()), stat(file())]);
      expect([keptIn.mode & 0o777, first.mode & 0o777]).toEqual([0o700, 0o600]);
      await resolve();
      // Whoever cannot use it writes another.
      expect(await stat(file())).toMatchObject({ ino: first.ino, mtimeMs: first.mtimeMs });
      await writeFile(file(), (await readFile(file())).subarray(0, 10_000));
      await resolve();
      expect((await stat(file())).size).toBeGreaterThan(0.9 * first.size);
      expect(await readdir(kept())).toEqual(['cli.cjs.asking.cache']);
    });

    test('is not written by a command that compiles little of what another needs', async () => {
      await runCopy(['--version'], home());
      expect(await readdir(at('home'))).toEqual([]);
    });

    test.each([
      ['a directory that others may write to', () => chmod(kept(), 0o777)],
      ['a file that others may write to', () => chmod(file(), 0o666)],
      ['a directory of somebody else', () => chown(kept(), 12_345, 12_345)],
      ['a file of somebody else', () => chown(file(), 12_345, 12_345)],
      [
        'a link to a file',
        () => rename(file(), at('home/there')).then(() => symlink(at('home/there'), file())),
      ],
      [
        'a link to a directory',
        () => rename(kept(), at('home/there')).then(() => symlink(at('home/there'), kept())),
      ],
    ])('is not taken from %s', async (_, change) => {
      await resolve();
      const { length } = await readFile(file());
      await change();
      const log = at('log');
      await resolve(strace, '-f', '-qq', '-e', 'trace=read,pread64', '-o', log);
      expect(await readFile(log, 'utf8')).not.toContain(`= ${length}\n`);
    });

    test.each([
      ['--no-cache is given', { args: ['--no-cache'], env: {} }],
      ['NODE_DISABLE_COMPILE_CACHE is set', { args: [], env: { NODE_DISABLE_COMPILE_CACHE: '1' } }],
      ['the home cannot be written', { args: [], env: { HOME: '/dev/null' } }],
      ['nothing can be created in the home', { args: [], env: { HOME: '/proc/self' } }],
      ['the cache is where nothing can be created', { args: [], env: { XDG_CACHE_HOME: '/proc/self' } }],
      ['there is no home', { args: [], env: { HOME: '' } }],
    ])('is neither read nor written if %s', async (_, { args, env }) => {
      const key = ['--key', registry.key, '--cert', registry.certificate, '--plain-http', '--quiet'];
      const names = [image, `${registry.address}/test/kept:1`];
      await runCopy(['sign', ...names, ...key, ...args], { ...home(), ...env });
      await expect(stat(kept())).rejects.toThrow('ENOENT');
    });
  });
});

describe('compiled code in dist', () => {
  test.each(['demo', 'resolve'])('is the same each time, byte for byte: of %s', async (command) => {
    await using temporary = await createTemporaryDirectory();
    const at = (...names: string[]) => join(temporary.path, ...names);
    const made = [];
    for (const place of ['one', 'another/place']) {
      await mkdir(at(place), { recursive: true });
      for (const name of ['bin', 'fixtures/hello', 'package.json', 'scripts/code-cache.js'])
        await cp(join(root, name), at(place, name), { recursive: true });
      for (const name of (await readdir(join(root, 'dist'))).filter((each) => each.endsWith('.cjs')))
        await cp(join(root, 'dist', name), at(place, 'dist', name));
      await execute(process.execPath, [
        at(place, 'scripts/code-cache.js'),
        at(place, 'dist/cli.cjs'),
        command,
      ]);
      const [name = ''] = (await readdir(at(place, 'dist'))).filter((each) => each.endsWith('.cache'));
      made.push(await digestOfFile(at(place, 'dist', name)), await digestOfFile(join(root, 'dist', name)));
    }
    expect(new Set(made).size).toBe(1);
  });
});
