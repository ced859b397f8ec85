import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { compareSync, hashSync } from 'bcryptjs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createPasswordCheck } from '../../../src/registry/server/basic-authentication.ts';
import { finished, startProgram } from '../../cli/run-program.ts';

const hashes = new Map([
  ['alice', hashSync('right', 4)],
  ['bob', hashSync('other', 5)],
]);

/** A check that writes down which hashes were computed. */
function counted(users: ReadonlyMap<string, string> = hashes) {
  const computed: string[] = [];
  const check = createPasswordCheck(users, (password, hash) => {
    computed.push(hash);
    return Promise.resolve(compareSync(password, hash));
  });
  return { check, computed };
}

describe('the check of passwords', () => {
  test('computes one hash for a wrong password, whether there is such a user or not', async () => {
    const { check, computed } = counted();
    expect(await check('alice', 'wrong')).toBe(false);
    expect(computed).toEqual([hashes.get('alice')]);
    for (const user of ['mallory', 'eve', '', '__proto__']) {
      computed.length = 0;
      expect(await check(user, 'right')).toBe(false);
      expect(await check(user, 'other')).toBe(false);
      // That of a user of the file, and of the same one each time.
      expect(computed).toHaveLength(2);
      expect([...hashes.values()]).toContain(computed[0]);
      expect(computed[1]).toBe(computed[0]);
    }
  });

  test('computes a hash of the usual cost when the file has no users', async () => {
    const { check, computed } = counted(new Map());
    expect(await check('alice', 'right')).toBe(false);
    expect(computed).toEqual([expect.stringMatching(/^\$2b\$10\$.{53}$/)]);
  });

  test('computes a hash once for a right password, also when it comes many times at once', async () => {
    const { check, computed } = counted();
    const answers = await Promise.all(Array.from({ length: 20 }, () => check('alice', 'right')));
    expect(answers.every(Boolean)).toBe(true);
    expect(await check('alice', 'right')).toBe(true);
    expect(computed).toHaveLength(1);
    expect(await check('bob', 'right')).toBe(false);
    expect(await check('alice', 'wrong')).toBe(false);
    expect(await check('alice', 'wrong')).toBe(false);
    expect(computed).toHaveLength(4);
  });

  test('remembers a limited number of right passwords', async () => {
    let computed = 0;
    const check = createPasswordCheck(hashes, () => {
      computed += 1;
      return Promise.resolve(true);
    });
    for (let count = 0; count <= 1000; count += 1) await check('alice', String(count));
    expect(computed).toBe(1001);
    await check('alice', '1000');
    expect(computed).toBe(1001);
    await check('alice', '0');
    expect(computed).toBe(1002);
  });

  test('refuses more than 16 at a time, and takes others when those are done', async () => {
    const waiting: (() => void)[] = [];
    const check = createPasswordCheck(hashes, async (password, hash) => {
      if (password.startsWith('wrong')) await new Promise<void>((resolve) => waiting.push(resolve));
      return compareSync(password, hash);
    });
    expect(await check('alice', 'right')).toBe(true);
    const first = Array.from({ length: 16 }, (_, at) => check('mallory', `wrong ${at}`));
    await expect(check('bob', 'other')).rejects.toMatchObject({
      status: 429,
      code: 'TOOMANYREQUESTS',
      headers: { 'retry-after': '2' },
    });
    expect(await check('alice', 'right')).toBe(true);
    for (const resolve of waiting) resolve();
    expect(await Promise.all(first)).toEqual(first.map(() => false));
    expect(await check('bob', 'other')).toBe(true);
  });
});

describe('the built program', () => {
  let directory: string;
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'kmm-sign-test-passwords-'));
  });
  afterAll(() => rm(directory, { recursive: true, force: true }));

  test('answers others while it checks passwords', async () => {
    const htpasswd = join(directory, 'htpasswd');
    await writeFile(htpasswd, `alice:${hashSync('right', 12)}\n`);
    const child = startProgram(
      [
        ['registry', '--root', join(directory, 'root'), '--listen', '127.0.0.1:0'],
        ['--htpasswd', htpasswd, '--format', 'json'],
      ].flat(),
    );
    const [line] = (await once(child.stdout ?? child, 'data')) as [Buffer];
    const { url } = JSON.parse(line.toString()) as { url: string };
    const answers: string[] = [];
    const ask = async (user: string, password: string): Promise<void> => {
      const authorization = `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
      const response = await fetch(`${url}/v2/`, { headers: { authorization } });
      answers.push(`${user} ${response.status}`);
    };
    await ask('alice', 'right');
    const refused = Promise.all(Array.from({ length: 12 }, (_, at) => ask('mallory', String(at))));
    // Each of them needs the event loop several times. On it, a hash takes more than all of them together.
    for (let count = 0; count < 40; count += 1) await ask('alice', 'right');
    const before = answers.filter((answer) => answer === 'mallory 401').length;
    await refused;
    child.kill();
    expect(await finished(child)).toMatchObject({ exitCode: 0 });
    // How many hashes are done by then is up to the processors.
    expect(before).toBeLessThan(12);
    expect(answers.filter((answer) => answer === 'alice 200')).toHaveLength(41);
    expect(answers.filter((answer) => answer === 'mallory 401')).toHaveLength(12);
  });
});
