import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { demoModule } from './demo-registry.ts';
import { runProgram } from './run-program.ts';
import { describeWith } from '../support/programs.ts';

const execute = promisify(execFile);
const fixture = new URL('../../fixtures/hello/hello.ko', import.meta.url);

let directory: string;

/** Where the demonstration keeps what it made. */
const kept = () => join(directory, 'kept');

/** A key pair that `kmm-sign keygen` made. */
const paths = () => ({
  key: join(directory, 'keys', 'signing_key.key'),
  certificate: join(directory, 'keys', 'signing_key.der'),
});

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'kmm-sign-test-'));
});

afterAll(async () => {
  await rm(directory, { recursive: true, force: true });
});

describe('kmm-sign demo', () => {
  test('tells its story on one screen and leaves nothing behind', async () => {
    const temporary = await mkdtemp(join(directory, 'tmp-'));
    const { stdout, exitCode } = await runProgram(['demo', '-q'], { env: { TMPDIR: temporary } });
    expect(exitCode).toBe(0);
    expect(stdout.split('\n').length).toBeLessThan(24);
    expect(stdout).toMatch(/layer 1 +sha256:\w+ same/);
    expect(stdout).toMatch(/layer 3 +sha256:\w+ → sha256:\w+/);
    expect(stdout.trimEnd()).toMatch(/@sha256:[0-9a-f]{64}$/);
    expect(await readdir(temporary)).toEqual([]);
  });

  test('says the same as JSON', async () => {
    const { stdout } = await runProgram(['demo', '-q', '--format', 'json']);
    expect(JSON.parse(stdout)).toMatchObject({
      schemaVersion: 1,
      again: 'unchanged',
      layers: [{ same: true }, { same: true }, { same: false }],
      report: { status: 'signed', platforms: [{ layersRead: 1 }] },
    });
  });
});

describeWith(['sign-file', 'openssl'], 'what kmm-sign demo --keep leaves', (programs) => {
  test('is the module as the kernel tree’s sign-file signs it', async () => {
    expect((await runProgram(['demo', '-q', '--keep', kept()])).exitCode).toBe(0);
    const key = join(kept(), 'signing_key.key');
    const certificate = join(kept(), 'signing_key.pem');
    const expected = join(directory, 'expected.ko');
    await execute(programs['sign-file'], ['sha256', key, certificate, fixture.pathname, expected]);
    const signed = await readFile(join(kept(), 'extracted', demoModule));
    expect(signed.equals(await readFile(expected))).toBe(true);
  });

  test('has a key that only its owner reads', async () => {
    const { mode } = await stat(join(kept(), 'signing_key.key'));
    expect(mode & 0o777).toBe(0o600);
  });
});

describeWith(['sign-file'], 'kmm-sign sign-file', (programs) => {
  beforeAll(async () => {
    await runProgram(['keygen', '-o', join(directory, 'keys'), '--bits', '2048']);
  });

  test.each([
    { flags: [], hash: 'sha256' },
    { flags: ['-k'], hash: 'sha512' },
  ])('takes the arguments of scripts/sign-file and does the same: $flags $hash', async ({ flags, hash }) => {
    const { key, certificate } = paths();
    const ours = join(directory, `ours-${hash}.ko`);
    const theirs = join(directory, `theirs-${hash}.ko`);
    const run = await runProgram(['sign-file', ...flags, hash, key, certificate, fixture.pathname, ours]);
    expect(run).toMatchObject({ exitCode: 0, stdout: '', stderr: '' });
    await execute(programs['sign-file'], [...flags, hash, key, certificate, fixture.pathname, theirs]);
    expect((await readFile(ours)).equals(await readFile(theirs))).toBe(true);
  });

  test('takes its arguments also where a variable names another key', async () => {
    const { key, certificate } = paths();
    const [ours, theirs] = [join(directory, 'variable.ko'), join(directory, 'no-variable.ko')];
    const run = await runProgram(['sign-file', 'SHA384', key, certificate, fixture.pathname, ours], {
      env: { KMM_SIGN_KEY: '/nonexistent', KMM_SIGN_CERT: '/nonexistent' },
    });
    expect(run).toMatchObject({ exitCode: 0, stdout: '', stderr: '' });
    await execute(programs['sign-file'], ['sha384', key, certificate, fixture.pathname, theirs]);
    expect((await readFile(ours)).equals(await readFile(theirs))).toBe(true);
  });

  test('--hash takes capital letters', async () => {
    const { key, certificate } = paths();
    const [ours, theirs] = [join(directory, 'capital.ko'), join(directory, 'small.ko')];
    await execute('cp', [fixture.pathname, ours]);
    const options = ['--key', key, '--cert', certificate, '--hash', 'SHA512'];
    expect(await runProgram(['sign-file', ...options, ours])).toMatchObject({ exitCode: 0, stderr: '' });
    await execute(programs['sign-file'], ['sha512', key, certificate, fixture.pathname, theirs]);
    expect((await readFile(ours)).equals(await readFile(theirs))).toBe(true);
  });

  test('-d writes the signature alone, as MODULE.p7s', async () => {
    const { key, certificate } = paths();
    const module = join(directory, 'detached.ko');
    const other = join(directory, 'detached-other.ko');
    const content = await readFile(fixture);
    await Promise.all([module, other].map((file) => execute('cp', [fixture.pathname, file])));
    const run = await runProgram(['sign-file', '-d', 'sha256', key, certificate, module]);
    await execute(programs['sign-file'], ['-d', 'sha256', key, certificate, other]);
    expect(run.exitCode).toBe(0);
    expect((await readFile(`${module}.p7s`)).equals(await readFile(`${other}.p7s`))).toBe(true);
    expect((await readFile(module)).equals(content)).toBe(true);
  });

  test('takes options and several modules', async () => {
    const { key, certificate } = paths();
    const modules = [join(directory, 'one.ko'), join(directory, 'two.ko')];
    await Promise.all(modules.map((file) => execute('cp', [fixture.pathname, file])));
    const run = await runProgram([
      'sign-file',
      '--key',
      key,
      '--cert',
      certificate,
      ...modules,
      '--format',
      'json',
    ]);
    expect(run.exitCode).toBe(0);
    expect(JSON.parse(run.stdout)).toMatchObject({
      modules: modules.map((path) => ({ path, action: 'signed' })),
    });
  });

  test('what is not a module gets exit code 6 and stays as it is', async () => {
    const { key, certificate } = paths();
    const before = await readFile(certificate);
    const { exitCode } = await runProgram(['sign-file', '--key', key, '--cert', certificate, certificate]);
    expect(exitCode).toBe(6);
    expect((await readFile(certificate)).equals(before)).toBe(true);
  });
});
