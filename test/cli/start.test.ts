import { cp, mkdtemp, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { describeWith } from '../support/programs.ts';
import { type DemoRegistry, startDemoRegistry } from './demo-registry.ts';
import { program, runProgram } from './run-program.ts';

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

  async function version() {
    const { stdout, stderr, exitCode } = await runProgram([], {
      through: [at('node'), at('bin/kmm-sign.js'), '--version'],
    });
    return { stdout, stderr, exitCode };
  }

  test('of another bundle of the same length is not run', async () => {
    const before = await version();
    expect(before.exitCode).toBe(0);
    const text = await readFile(at('dist/cli.cjs'), 'utf8');
    const number = before.stdout.trim();
    const other = number.replace(/^\d/, '9');
    const digestChanged = text.replaceAll(`"${number}"`, `"${other}"`).replace(/\w\n$/, 'x\n');
    expect(digestChanged).toHaveLength(text.length);
    await writeFile(at('dist/cli.cjs'), digestChanged);
    expect(await version()).toEqual({ stdout: `${other}\n`, stderr: '', exitCode: 0 });
  });

  test('that is damaged or missing is made anew', async () => {
    const whole = await readFile(at('dist/cli.cjs.cache'));
    await writeFile(at('dist/cli.cjs.cache'), whole.subarray(0, 100));
    expect(await version()).toMatchObject({ stderr: '', exitCode: 0 });
    await rm(at('dist/cli.cjs.cache'));
    expect(await version()).toMatchObject({ stderr: '', exitCode: 0 });
  });
});
