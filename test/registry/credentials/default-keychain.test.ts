import { existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { inspect } from 'node:util';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { parseAuthConfig } from '../../../src/registry/credentials/auth-config.ts';
import { authConfigKeychain } from '../../../src/registry/credentials/auth-file-keychain.ts';
import {
  createDefaultKeychain,
  type CredentialSource,
} from '../../../src/registry/credentials/default-keychain.ts';
import type { Credential, Keychain } from '../../../src/registry/credentials/keychain.ts';
import { pullSecretKeychain } from '../../../src/registry/credentials/pull-secret.ts';
import { matchServerKey, parseServerKey } from '../../../src/registry/credentials/server-key.ts';
import { type Logger, silentLogger } from '../../../src/shared/logger.ts';
import { Secret } from '../../../src/shared/secret.ts';
import { rejection, rememberingLogger } from '../http/local-server.ts';

let directory = '';
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'kmm-sign-test-credentials-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const auth = (login: string): { auth: string } => ({ auth: Buffer.from(login).toString('base64') });

async function write(path: string, content: unknown, mode = 0o600): Promise<string> {
  const file = join(directory, path);
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, typeof content === 'string' ? content : JSON.stringify(content), { mode });
  await chmod(file, mode);
  return file;
}

/** A credential with its secrets laid open. */
function open({
  username,
  password,
  identityToken,
  registryToken,
}: Credential): Record<string, string | undefined> {
  return {
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password: password.reveal() }),
    ...(identityToken === undefined ? {} : { identityToken: identityToken.reveal() }),
    ...(registryToken === undefined ? {} : { registryToken: registryToken.reveal() }),
  };
}

/** Where a test lets credentials come from. */
interface Sources extends CredentialSource {
  readonly env?: Record<string, string>;
  readonly logger?: Logger;
}

function keychainFrom({ env = {}, logger = silentLogger, ...source }: Sources = {}): Keychain {
  return createDefaultKeychain(source, directory, { environment: env, logger });
}

/** The user name that a reference gets, out of the places that everybody has. */
async function whoPulls(reference: string, options: Sources = {}): Promise<string | null> {
  const slash = reference.indexOf('/');
  const target = { registry: reference.slice(0, slash), repository: reference.slice(slash + 1) };
  const keychain = keychainFrom(options);
  return (await keychain.resolve(target))[0]?.username ?? null;
}

describe('an auth file', () => {
  it('is matched by the most specific key, whole path segments at a time, in any order', async () => {
    const entries = Object.entries({
      'r.example': auth('host:1'),
      'r.example/vendor': auth('vendor:1'),
      'r.example/vendor/driver': auth('driver:1'),
      'r.example:5000': auth('port:1'),
    });
    for (const auths of [entries, entries.toReversed()]) {
      await write('.docker/config.json', { auths: Object.fromEntries(auths) });
      expect(await whoPulls('r.example/vendor/driver')).toBe('driver');
      expect(await whoPulls('r.example/vendor/driver/more')).toBe('driver');
      expect(await whoPulls('r.example/vendor/driver2')).toBe('vendor');
      expect(await whoPulls('r.example/vendors')).toBe('host');
      expect(await whoPulls('r.example:5000/vendor/driver')).toBe('port');
      expect(await whoPulls('other.example/vendor')).toBeNull();
    }
  });

  it.each([
    'https://index.docker.io/v1/',
    'docker.io',
    'registry-1.docker.io',
    'https://index.docker.io/v2/',
    'index.docker.io',
  ])('may call Docker Hub %s', async (key) => {
    await write('.docker/config.json', { auths: { [key]: auth('hub:1') } });
    expect(await whoPulls('docker.io/library/busybox')).toBe('hub');
  });

  it('may have URLs as keys', async () => {
    await write('.docker/config.json', { auths: { 'https://r.example:5000/v2/': auth('alice:1') } });
    expect(await whoPulls('r.example:5000/a')).toBe('alice');
  });

  it.each<[string, unknown, Record<string, string>]>([
    ['a password with colons', auth('alice:a:b:c'), { username: 'alice', password: 'a:b:c' }],
    ['NUL bytes at the end', auth('alice:secret\0\0'), { username: 'alice', password: 'secret' }],
    [
      'user name and password',
      { username: 'alice', password: 'secret' },
      { username: 'alice', password: 'secret' },
    ],
    [
      'an identity token',
      { ...auth('00000000-0000:'), identitytoken: 'id' },
      { username: '00000000-0000', identityToken: 'id' },
    ],
    ['a registry token', { registrytoken: 'rt' }, { registryToken: 'rt' }],
  ])('may hold %s', async (_, entry, expected) => {
    const config = parseAuthConfig(JSON.stringify({ auths: { 'r.example': entry } }), 'file');
    expect(config.entries.map(({ credential }) => open(credential))).toEqual([expected]);
  });

  it('with an empty entry has no credentials', async () => {
    await write('.docker/config.json', { auths: { 'r.example': {} } });
    expect(await whoPulls('r.example/a')).toBeNull();
  });

  it.each([
    ['that is not JSON', '{"auths": {"r.example": {"auth": "c2VjcmV0'],
    ['with an auth that is no login', JSON.stringify({ auths: { 'r.example': { auth: 'c2VjcmV0' } } })],
    ['with a number for a password', JSON.stringify({ auths: { 'r.example': { password: 12_345_678 } } })],
    ['that is a list', '["c2VjcmV0"]'],
  ])('%s is an error that names the file and shows nothing of it', async (_, content) => {
    const file = await write('.docker/config.json', content);
    const error = await rejection(whoPulls('r.example/a'));
    expect(error).toMatchObject({ code: 'INVALID_CONFIGURATION', message: expect.stringContaining(file) });
    expect(inspect(error, { depth: 10 })).not.toMatch(/c2VjcmV0|secret|12.?345.?678/);
  });
});

describe('the places that are looked at', () => {
  it('come in their order, each giving way to the next', async () => {
    const as = (name: string): unknown => ({ auths: { 'r.example': auth(`${name}:1`) } });
    const authfile = await write('authfile.json', as('authfile'));
    const registryAuthFile = await write('registry-auth-file.json', as('REGISTRY_AUTH_FILE'));
    await write('docker/config.json', as('DOCKER_CONFIG'));
    await write('run/containers/auth.json', as('XDG_RUNTIME_DIR'));
    await write('.config/containers/auth.json', as('.config'));
    await write('.docker/config.json', as('.docker'));
    await write('.dockercfg', { 'r.example': auth('.dockercfg:1') });
    const pullSecret = await write('secret/.dockerconfigjson', as('pull secret'));
    let options: Sources & { env: Record<string, string> } = {
      explicit: { username: 'explicit', password: new Secret('1') },
      authfile,
      pullSecrets: [dirname(pullSecret)],
      env: {
        REGISTRY_AUTH_FILE: registryAuthFile,
        DOCKER_AUTH_CONFIG: JSON.stringify(as('DOCKER_AUTH_CONFIG')),
        DOCKER_CONFIG: join(directory, 'docker'),
        XDG_RUNTIME_DIR: join(directory, 'run'),
      },
    };
    const found: (string | null)[] = [];
    const look = async (): Promise<void> => {
      found.push(await whoPulls('r.example/a', options));
    };
    const steps: (() => unknown)[] = [
      () => (options = { ...options, explicit: undefined }),
      () => (options = { ...options, authfile: undefined }),
      () => (options = { ...options, pullSecrets: [] }),
      ...['REGISTRY_AUTH_FILE', 'DOCKER_AUTH_CONFIG', 'DOCKER_CONFIG', 'XDG_RUNTIME_DIR'].map(
        (name) => () => {
          const { [name]: _, ...env } = options.env;
          options = { ...options, env };
        },
      ),
      () => rm(join(directory, '.config'), { recursive: true }),
      () => rm(join(directory, '.docker'), { recursive: true }),
      () => rm(join(directory, '.dockercfg')),
    ];
    await look();
    for (const step of steps) {
      await step();
      await look();
    }
    expect(found).toEqual([
      'explicit',
      'authfile',
      'pull secret',
      'REGISTRY_AUTH_FILE',
      'DOCKER_AUTH_CONFIG',
      'DOCKER_CONFIG',
      'XDG_RUNTIME_DIR',
      '.config',
      '.docker',
      '.dockercfg',
      null,
    ]);
  });

  it('say where a credential came from', async () => {
    const file = await write('.docker/config.json', { auths: { 'https://r.example/v2/': auth('a:b') } });
    const [credential] = await keychainFrom().resolve({
      registry: 'r.example',
      repository: 'x',
    });
    expect(credential?.source).toBe(`${file} (https://r.example/v2/)`);
    expect(inspect(credential)).not.toContain("'b'");
  });

  it('must exist when an option names them', async () => {
    const missing = join(directory, 'missing.json');
    for (const options of [{ authfile: missing }, { pullSecrets: [missing] }]) {
      expect(await rejection(whoPulls('r.example/a', options))).toMatchObject({
        code: 'INVALID_CONFIGURATION',
      });
    }
  });

  it('are none for an anonymous user', async () => {
    await write('.docker/config.json', { auths: { 'r.example': auth('alice:1') } });
    expect(await whoPulls('r.example/a', { anonymous: true })).toBeNull();
  });
});

describe('pull secrets', () => {
  it('give every entry that fits, the most specific first', async () => {
    const auths = {
      'r.example': auth('host:1'),
      'https://r.example/v1/vendor': auth('vendor:1'),
      '*.example': auth('glob:1'),
      'r.example/vendor/driver': auth('driver:1'),
      'r.example/vendor/drive': auth('other:1'),
    };
    const keychain = pullSecretKeychain([await write('.dockerconfigjson', { auths })]);
    const found = await keychain.resolve({ registry: 'r.example', repository: 'vendor/driver' });
    expect(found.map(({ username }) => username)).toEqual(['driver', 'vendor', 'host', 'glob']);
  });

  it.each([
    ['*.example', 'r.example', true],
    ['*.example', 'a.r.example', false],
    ['*.*.example', 'a.r.example', true],
    ['r?.example', 'r1.example', true],
    ['r*t.example:5000', 'r-e-s-t.example:5000', true],
    ['*.example:5000', 'r.example', false],
    ['*.example', 'r.example:5000', false],
    ['*', 'localhost', true],
  ])('with the host %s fit %s: %s', (pattern, registry, fits) => {
    expect(
      matchServerKey(parseServerKey(pattern), { registry, repository: 'a' }, { globs: true }) !== null,
    ).toBe(fits);
    expect(matchServerKey(parseServerKey(pattern), { registry, repository: 'a' })).toBeNull();
  });

  it('are read from files and directories of both types', async () => {
    const config = await write('a/.dockerconfigjson', { auths: { 'a.example': auth('a:1') } });
    const legacy = await write('b/.dockercfg', { 'b.example': { ...auth('b:1'), email: 'b@example' } });
    for (const paths of [
      [config, legacy],
      [dirname(config), dirname(legacy)],
    ]) {
      const keychain = pullSecretKeychain(paths);
      const names = await Promise.all(
        ['a.example', 'b.example'].map(
          async (registry) => (await keychain.resolve({ registry, repository: 'x' }))[0]?.username,
        ),
      );
      expect(names).toEqual(['a', 'b']);
    }
  });
});

/** A helper that runs a piece of shell; what it is asked for is in $server. */
async function helper(name: string, script: string): Promise<Record<string, string>> {
  await write(`bin/docker-credential-${name}`, `#!/bin/sh\nread -r server || true\n${script}\n`, 0o700);
  return { PATH: `${join(directory, 'bin')}:/usr/bin:/bin`, KMM_SIGN_PASSWORD: 'not yours' };
}

describe('a credential helper', () => {
  const answer = `printf '{"ServerURL":"%s","Username":"helped","Secret":"s3cret"}' "$server"`;
  const target = { registry: 'r.example', repository: 'vendor/driver' };

  it('gets the key as written, with "get", and sees nothing else of our environment', async () => {
    const log = join(directory, 'log');
    vi.stubEnv('KBUILD_SIGN_PIN', 'not yours either');
    const secrets = '${KMM_SIGN_PASSWORD:-unset} ${KBUILD_SIGN_PIN:-unset}';
    const env = await helper('test', `echo "$1 $server ${secrets}" >> ${log}\n${answer}`);
    await write('.docker/config.json', { credHelpers: { 'https://r.example/': 'test' } });
    const keychain = keychainFrom({ env });
    expect((await keychain.resolve(target)).map(open)).toEqual([{ username: 'helped', password: 's3cret' }]);
    await keychain.resolve({ ...target, repository: 'other' });
    expect(await readFile(log, 'utf8')).toBe('get https://r.example/ unset unset\n');
    vi.unstubAllEnvs();
  });

  it('for everything gets the registry, and Docker Hub by its old name', async () => {
    const log = join(directory, 'log');
    const env = await helper('store', `echo "$server" >> ${log}\n${answer}`);
    await write('.docker/config.json', { credsStore: 'store' });
    expect(await whoPulls('r.example:5000/a', { env })).toBe('helped');
    expect(await whoPulls('docker.io/library/a', { env })).toBe('helped');
    expect(await readFile(log, 'utf8')).toBe('r.example:5000\nhttps://index.docker.io/v1/\n');
  });

  it('for everything is not called for a registry with an empty helper name', async () => {
    const env = await helper('store', answer);
    await write('.docker/config.json', { credsStore: 'store', credHelpers: { 'r.example': '' } });
    expect(await whoPulls('r.example/a', { env })).toBeNull();
    expect(await whoPulls('x.example/a', { env })).toBe('helped');
  });

  it('that never stops talking is not listened to', async () => {
    const long = `printf '{"Username":"u","Secret":"%070000d"}' 1`;
    const env = await helper('test', long);
    await write('.docker/config.json', { credsStore: 'test' });
    const found = keychainFrom({ env }).resolve(target);
    await expect(found).rejects.toMatchObject({ code: 'INVALID_CONFIGURATION' });
  });

  it('comes after what is written in the file', async () => {
    const env = await helper('store', answer);
    await write('.docker/config.json', {
      auths: { 'r.example': auth('written:1'), 'x.example': {} },
      credsStore: 'store',
    });
    expect(await whoPulls('r.example/a', { env })).toBe('written');
    expect(await whoPulls('x.example/a', { env })).toBe('helped');
  });

  it('returns an identity token under the name <token>', async () => {
    const env = await helper('test', `printf '{"Username":"<token>","Secret":"id"}'`);
    await write('.docker/config.json', { credsStore: 'test' });
    const found = await keychainFrom({ env }).resolve(target);
    expect(found.map(open)).toEqual([{ identityToken: 'id' }]);
  });

  it('that knows nothing leaves the next place to answer', async () => {
    const env = await helper('test', `echo 'credentials not found in native keychain'; exit 1`);
    await write('.docker/config.json', { credsStore: 'test' });
    await write('.dockercfg', { 'r.example': auth('next:1') });
    expect(await whoPulls('r.example/a', { env })).toBe('next');
  });

  it('ends when nobody waits for it any more, and is called again the next time', async () => {
    const pid = join(directory, 'pid');
    const env = await helper('test', `echo $$ > ${pid}.part; mv ${pid}.part ${pid}; exec tail -f /dev/null`);
    await write('.docker/config.json', { credsStore: 'test' });
    const keychain = keychainFrom({ env });
    const [one, other] = [new AbortController(), new AbortController()];
    const waiting = [one, other].map(({ signal }) => rejection(keychain.resolve(target, { signal })));
    const pollOptions = { timeout: 30_000 };
    await expect.poll(() => existsSync(pid), pollOptions).toBe(true);
    const running = `/proc/${(await readFile(pid, 'utf8')).trim()}`;
    one.abort(new Error('enough'));
    expect(await waiting[0]).toMatchObject({ message: 'enough' });
    expect(existsSync(running)).toBe(true);
    other.abort(new Error('enough, too'));
    expect(await waiting[1]).toMatchObject({ message: 'enough, too' });
    await expect.poll(() => existsSync(running), pollOptions).toBe(false);
    await helper('test', answer);
    expect((await keychain.resolve(target)).map(open)).toEqual([{ username: 'helped', password: 's3cret' }]);
  });

  it('that is not installed is warned of once', async () => {
    await write('.docker/config.json', { credsStore: 'desktop' });
    const logger = rememberingLogger();
    const keychain = keychainFrom({ env: { PATH: directory }, logger });
    expect(await keychain.resolve(target)).toEqual([]);
    expect(await keychain.resolve({ ...target, repository: 'other' })).toEqual([]);
    expect(logger.lines.map(({ level }) => level)).toEqual(['warn']);
  });

  it.each([
    ['that fails', `echo 'the vault is locked'; exit 3`, 'the vault is locked'],
    ['that answers nonsense', `echo 's3cret'`, 'protocol'],
  ])('%s is an error', async (_, script, problem) => {
    const env = await helper('test', script);
    await write('.docker/config.json', { credsStore: 'test' });
    const error = await rejection(whoPulls('r.example/a', { env }));
    expect(error).toMatchObject({ code: 'INVALID_CONFIGURATION', message: expect.stringContaining(problem) });
    expect(inspect(error)).not.toContain('s3cret');
  });

  it('whose name leads out of PATH is not run', async () => {
    const config = parseAuthConfig(JSON.stringify({ credsStore: '../../bin/sh' }), 'file');
    const keychain = authConfigKeychain(config, { environment: {}, logger: rememberingLogger() });
    expect(await rejection(keychain.resolve(target))).toMatchObject({ code: 'INVALID_CONFIGURATION' });
  });
});

describe('any key', () => {
  const part = fc.stringMatching(/^[a-z0-9]{1,4}$/);

  it('fits the repositories below it and no others', () => {
    fc.assert(
      fc.property(
        fc.array(part, { maxLength: 3 }),
        fc.array(part, { minLength: 1, maxLength: 4 }),
        (keyPath, path) => {
          const key = parseServerKey(['r.example', ...keyPath].join('/'));
          const score = matchServerKey(key, { registry: 'r.example', repository: path.join('/') });
          const skipped = keyPath[0] === 'v1' || keyPath[0] === 'v2' ? keyPath.slice(1) : keyPath;
          const below = `${path.join('/')}/`.startsWith(skipped.map((segment) => `${segment}/`).join(''));
          expect(score).toBe(below ? skipped.length : null);
        },
      ),
    );
  });
});
