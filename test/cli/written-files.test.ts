import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  link,
  mkdir,
  mkdtemp,
  open,
  readFile,
  readdir,
  rm,
  stat,
  symlink,
  unlink,
  writeFile,
} from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { LayoutRepository } from '../../src/registry/image/layout-repository.ts';
import { storeImage, withParents } from '../support/images.ts';
import { findProgram } from '../support/programs.ts';
import { createTestKey, helloModule, type TestKey } from '../support/signing.ts';
import { finished, runProgram, startProgram } from './run-program.ts';

const module = 'lib/modules/6.1.0/hello.ko';

let folder: string;
let image: string;
let digest: string;
let key: TestKey;
let directory: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kmm-sign-test-'));
  key = await createTestKey(folder);
  const layers = [{ entries: withParents(module, await helloModule) }];
  ({ digest } = await storeImage(new LayoutRepository(join(folder, 'layout')), { layers }, '1'));
  image = `oci:${join(folder, 'layout')}:1`;
});

beforeEach(async () => {
  directory = await mkdtemp(join(folder, 'work-'));
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

const at = (...names: string[]) => join(directory, ...names);

/** Writes the digest of the image to a file. */
const resolve = (file: string) => runProgram(['resolve', image, '--digest-file', file]);

/** Makes a key pair in the folder. */
const keygen = (...more: string[]) =>
  runProgram(['keygen', '-o', directory, '--bits', '2048', ...more], { env: { KMM_SIGN_PASSWORD: '' } });

describe('where nothing can be created', () => {
  const place = '/proc/self/kmm-sign/below';

  test.each([
    ['extract', 1, () => ['extract', image, '-o', place]],
    ['keygen', 1, () => ['keygen', '-o', place]],
    ['registry', 2, () => ['registry', '--root', place, '--listen', '127.0.0.1:0']],
    ['demo', 1, () => ['demo', '--keep', place]],
    ['sign', 1, () => ['sign', image, `oci:${place}:1`, '--key', key.key, '--cert', key.certificate]],
  ])('%s ends with an error that names the place', async (_, code, args) => {
    const child = startProgram(args(), { env: { KMM_SIGN_PASSWORD: '' } });
    const timeout = setTimeout(() => child.kill('SIGKILL'), 20_000);
    const { exitCode, stderr } = await finished(child);
    clearTimeout(timeout);
    expect(exitCode).toBe(code);
    expect(stderr).toContain('/proc/self/kmm-sign');
  });
});

describe('extract', () => {
  test('leaves files beside its own alone, whatever their names', async () => {
    const neighbours = ['hello.ko.part', 'hello.ko.tmp', '.hello.ko', 'hello.ko~'];
    const place = at('lib/modules/6.1.0');
    await mkdir(place, { recursive: true });
    for (const name of neighbours) await writeFile(join(place, name), 'mine');
    for (let run = 0; run < 2; run += 1) {
      expect(await runProgram(['extract', image, '-o', directory])).toMatchObject({
        exitCode: 0,
        stderr: '',
      });
    }
    expect((await readdir(place)).toSorted()).toEqual([...neighbours, 'hello.ko'].toSorted());
    for (const name of neighbours) expect(await readFile(join(place, name), 'utf8')).toBe('mine');
    expect((await readFile(at(module))).equals(await helloModule)).toBe(true);
  });

  test('replaces a link and not what it leads to', async () => {
    await mkdir(at('lib/modules/6.1.0'), { recursive: true });
    await writeFile(at('other'), 'mine');
    await symlink(at('other'), at(module));
    expect(await runProgram(['extract', image, '-o', directory])).toMatchObject({ exitCode: 0 });
    expect(await readFile(at('other'), 'utf8')).toBe('mine');
    expect((await readFile(at(module))).equals(await helloModule)).toBe(true);
  });

  test('names the file that cannot be written', async () => {
    await writeFile(at('lib'), 'a file');
    const { exitCode, stderr } = await runProgram(['extract', image, '-o', directory, '--format', 'json']);
    expect(exitCode).toBe(1);
    expect(JSON.parse(stderr)).toMatchObject({
      error: { code: 'FILE_ERROR', message: expect.stringContaining(at('lib')) },
    });
  });
});

describe('--digest-file', () => {
  test('appears as a whole: whoever has the earlier file open goes on reading that', async () => {
    await writeFile(at('digest'), 'earlier', { mode: 0o640 });
    await using earlier = await open(at('digest'));
    await link(at('digest'), at('same'));
    expect(await resolve(at('digest'))).toMatchObject({ exitCode: 0, stderr: '' });
    expect(await earlier.readFile('utf8')).toBe('earlier');
    expect(await readFile(at('same'), 'utf8')).toBe('earlier');
    expect(await readFile(at('digest'), 'utf8')).toBe(digest);
    expect((await stat(at('digest'))).mode & 0o777).toBe(0o640);
    expect((await readdir(directory)).toSorted()).toEqual(['digest', 'same']);
  });

  test('follows no link, also one that leads nowhere', async () => {
    await writeFile(at('other'), 'mine');
    await symlink(at('other'), at('link'));
    await symlink(at('missing'), at('dangling'));
    for (const name of ['link', 'dangling']) {
      const { exitCode, stderr } = await resolve(at(name));
      expect(stderr).toContain(`${at(name)} is a symbolic link`);
      expect(exitCode).toBe(1);
    }
    expect(await readFile(at('other'), 'utf8')).toBe('mine');
    expect((await readdir(directory)).toSorted()).toEqual(['dangling', 'link', 'other']);
  });

  test('may be what the system names so: /dev/stdout and /dev/null', async () => {
    const piped = await runProgram(['resolve', image, '--digest-file', '/dev/stdout'], {
      through: ['sh', '-c', '"$@" | cat', 'sh'],
    });
    expect(piped).toMatchObject({ stderr: '', stdout: `${digest}${digest}\n` });
    expect(await resolve('/dev/null')).toMatchObject({ exitCode: 0, stdout: `${digest}\n` });
    expect((await stat('/dev/null')).isCharacterDevice()).toBe(true);
  });

  // As Kubernetes mounts /dev/termination-log: nothing can be renamed over it.
  const unshare = findProgram('unshare') ?? '';
  const mountAndRun = 'mount --bind "$LOG" "$LOG" && exec "$@"';
  const mayMount = spawnSync(unshare, ['--mount', 'true']).status === 0;

  test.skipIf(!mayMount)('may be a file that is mounted alone', async () => {
    await writeFile(at('log'), 'earlier, and longer than a digest is: '.repeat(5));
    const { exitCode, stderr } = await runProgram(['resolve', image, '--digest-file', at('log')], {
      through: [unshare, '--mount', 'sh', '-c', mountAndRun, 'sh'],
      env: { LOG: at('log') },
    });
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
    expect(await readFile(at('log'), 'utf8')).toBe(digest);
    expect(await readdir(directory)).toEqual(['log']);
  });
});

describe('sign-file', () => {
  test('replaces nothing that is not a file', async () => {
    const device = at('socket');
    await writeFile(at('a.ko'), await helloModule);
    await using server = createServer().listen(device);
    await once(server, 'listening');
    const args = ['sign-file', 'sha256', key.key, key.certificate, at('a.ko'), device];
    const { exitCode, stderr } = await runProgram(args);
    expect(stderr).toContain('not a regular file');
    expect(exitCode).toBe(1);
    expect((await stat(device)).isSocket()).toBe(true);
    expect((await readdir(directory)).toSorted()).toEqual(['a.ko', 'socket']);
  });
});

describe('keygen', () => {
  const names = ['signing_key.key', 'signing_key.pem', 'signing_key.der'];

  test('--force keeps the earlier key when the new certificate cannot be written', async () => {
    await writeFile(at('signing_key.key'), 'the earlier key');
    await mkdir(at('signing_key.der'));
    const { exitCode } = await keygen('--force');
    expect(exitCode).toBe(1);
    expect((await readdir(directory)).toSorted()).toEqual(['signing_key.der', 'signing_key.key']);
    expect(await readFile(at('signing_key.key'), 'utf8')).toBe('the earlier key');
  });

  test.each(names)('writes all of its files or none (%s is a dangling link)', async (name) => {
    await symlink(at('nowhere'), at(name));
    expect((await keygen()).exitCode).toBe(1);
    expect(await readdir(directory)).toEqual([name]);
    await unlink(at(name));
    expect(await keygen()).toMatchObject({ exitCode: 0, stderr: '' });
    expect((await readdir(directory)).toSorted()).toEqual(names.toSorted());
  });
});
