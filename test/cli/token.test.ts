import { execFile } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { LayoutRepository } from '../../src/registry/image/layout-repository.ts';
import { storeImage, withParents } from '../support/images.ts';
import { describeWith } from '../support/programs.ts';
import { createTestKey, helloModule, type TestKey } from '../support/signing.ts';
import { runProgram } from './run-program.ts';

const execute = promisify(execFile);
const modules = ['lib/modules/6.1.0/a.ko', 'lib/modules/6.1.0/b.ko', 'lib/modules/6.1.0/c.ko'];

let directory: string;
let key: TestKey;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'kmm-sign-test-'));
  key = await createTestKey(directory);
  const entries = await Promise.all(modules.map(async (path) => withParents(path, await helloModule)));
  const layers = [{ entries: entries.flat() }];
  await storeImage(new LayoutRepository(join(directory, 'source')), { layers }, '1');
});

afterAll(async () => {
  await rm(directory, { recursive: true, force: true });
});

const at = (...names: string[]) => join(directory, ...names);

/** The key in the token; the PIN is in a file. */
const uri = () => `pkcs11:token=kmm;object=modules;type=private?pin-source=file:${at('pin')}`;

/** Signs the image with a program and a key that only the program reads. */
const sign = (name: string, program: string, keyUri: string, env: Readonly<Record<string, string>> = {}) =>
  runProgram(
    [
      ['sign', `oci:${at('source')}:1`, `oci:${at(name)}:1`, '--quiet', '--format', 'json'],
      ['--sign-file', program, '--key', keyUri, '--cert', key.certificate],
    ].flat(),
    { env },
  );

// The real path of a key in a token: the kernel tree's sign-file, OpenSSL's provider, SoftHSM.
describeWith(
  ['sign-file', 'softhsm2-util', 'libsofthsm2.so', 'pkcs11-provider', 'openssl'],
  'a key in a token',
  (programs) => {
    const pin = '4711';
    let env: Record<string, string>;

    beforeAll(async () => {
      await mkdir(at('tokens'));
      env = { SOFTHSM2_CONF: at('softhsm2.conf'), OPENSSL_CONF: at('openssl.cnf') };
      await writeFile(at('softhsm2.conf'), `directories.tokendir = ${at('tokens')}\nlog.level = ERROR\n`);
      await writeFile(
        at('openssl.cnf'),
        [
          ['openssl_conf = init', '[init]', 'providers = all', '[all]', 'default = d', 'pkcs11 = p'],
          ['[d]', 'activate = 1', '[p]', 'activate = 1', `module = ${programs['pkcs11-provider']}`],
          [`pkcs11-module-path = ${programs['libsofthsm2.so']}`, 'pkcs11-module-quirks = no-deinit', ''],
        ]
          .flat()
          .join('\n'),
      );
      await writeFile(at('pin'), pin);
      const token = ['--token', 'kmm', '--pin', pin];
      const util = (...args: string[]) =>
        execute(programs['softhsm2-util'], args, { env: { SOFTHSM2_CONF: at('softhsm2.conf') } });
      await util('--init-token', '--free', '--label', 'kmm', '--pin', pin, '--so-pin', '12345678');
      await execute(programs.openssl, [
        'pkcs8',
        '-topk8',
        '-nocrypt',
        '-in',
        key.key,
        '-out',
        at('pkcs8.pem'),
      ]);
      await util('--import', at('pkcs8.pem'), '--label', 'modules', '--id', 'a1', ...token);
    });

    test('signs an image through sign-file, as the same key in a file does', async () => {
      const run = await sign('token', programs['sign-file'], uri(), env);
      expect(run).toMatchObject({ exitCode: 0, stderr: '' });
      const [first = ''] = modules;
      await runProgram(['extract', `oci:${at('token')}:1`, '-o', at('extracted')]);
      await writeFile(at('hello.ko'), await helloModule);
      const files = [key.key, key.certificate, at('hello.ko'), at('expected.ko')];
      await execute(programs['sign-file'], ['sha256', ...files]);
      expect((await readFile(at('extracted', first))).equals(await readFile(at('expected.ko')))).toBe(true);
      const image = `oci:${at('token')}:1`;
      expect(await runProgram(['verify', image, '--cert', key.certificate])).toMatchObject({ exitCode: 0 });
    });

    test('with another certificate signs nothing', async () => {
      const other = await createTestKey(directory, 'other');
      const args = [
        'sign',
        `oci:${at('source')}:1`,
        `oci:${at('mismatch')}:1`,
        '--quiet',
        '--format',
        'json',
      ];
      const keys = ['--sign-file', programs['sign-file'], '--key', uri(), '--cert', other.certificate];
      const run = await runProgram([...args, ...keys], { env });
      expect(run).toMatchObject({ exitCode: 1, stdout: '' });
      expect(JSON.parse(run.stderr)).toMatchObject({ error: { code: 'PROGRAM_FAILED' } });
      expect((await runProgram(['exists', `oci:${at('mismatch')}:1`])).exitCode).toBe(3);
    });
  },
);

describe('a program that refuses a key in a token', () => {
  test('is asked once and not for every module: a token may lock itself after a few wrong PINs', async () => {
    const program = at('refusing');
    await writeFile(program, `#!/bin/sh\necho "$3" >> ${at('asked')}\necho 'wrong PIN' >&2\nexit 1\n`);
    await chmod(program, 0o755);
    const run = await sign('refused', program, 'pkcs11:token=kmm;object=modules');
    expect(run.exitCode).toBe(1);
    expect(JSON.parse(run.stderr)).toMatchObject({
      error: { message: expect.stringContaining('wrong PIN') },
    });
    expect(await readFile(at('asked'), 'utf8')).toMatch(/^[^\n]*\n$/);
  });

  test('is not given a PIN in its arguments', async () => {
    const run = await sign('refused', '/bin/false', 'pkcs11:token=kmm;object=modules?pin-value=4711');
    expect(run.exitCode).toBe(2);
    expect(run.stderr).toContain('pin-source=file:');
    expect(run.stderr).not.toContain('4711');
  });

  test('is what --key pkcs11: needs', async () => {
    const image = `oci:${at('source')}:1`;
    const keys = ['--key', 'pkcs11:token=kmm;object=modules', '--cert', key.certificate];
    const run = await runProgram(['sign', image, `oci:${at('none')}:1`, ...keys]);
    expect(run.exitCode).toBe(13);
    expect(run.stderr).toContain('--sign-file PROGRAM');
  });
});
