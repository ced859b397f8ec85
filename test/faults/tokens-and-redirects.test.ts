import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { RegistryClient } from '../../src/registry/image/client.ts';
import { Secret } from '../../src/shared/secret.ts';
import { runProgram, type Finished } from '../cli/run-program.ts';
import { startFaultProxy, type ChooseFault, type FaultProxy } from '../support/fault-proxy.ts';
import { storeImage, withParents } from '../support/images.ts';
import { describeWith } from '../support/programs.ts';
import { startDockerRegistry, startEmbedded, type TestRegistry } from '../support/registries.ts';
import { createTestKey, helloModule, type TestKey } from '../support/signing.ts';
import { startTokenServer, type TokenServer } from '../support/token-server.ts';

// Whole runs against a registry that wants Bearer tokens, behind a proxy that sees every request.

const user = { username: 'alice', password: 'wonder:land' };

describeWith(['docker-registry', 'openssl'], 'a registry with tokens', () => {
  let folder: string;
  let temporary: string;
  let tokens: TokenServer;
  let registry: TestRegistry;
  let proxy: FaultProxy;
  let mirror: TestRegistry;
  let elsewhere: FaultProxy;
  let key: TestKey;
  let count = 0;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kmm-sign-test-tokens-'));
    temporary = await mkdtemp(join(folder, 'tmp-'));
    tokens = await startTokenServer({ users: [user] });
    registry = await startDockerRegistry({ authentication: tokens });
    proxy = await startFaultProxy({ target: registry.url });
    mirror = await startEmbedded();
    elsewhere = await startFaultProxy({ target: mirror.url });
    key = await createTestKey(folder);
    const explicit = { username: user.username, password: new Secret(user.password) };
    const client = new RegistryClient({ plainHttp: true, credentials: { explicit } });
    const layers = [
      { entries: [{ name: 'etc/' }, { name: 'etc/motd', content: 'untouched' }] },
      { entries: withParents('lib/modules/6.1.0/extra/hello.ko', await helloModule) },
    ];
    for (const { host } of [registry, mirror]) {
      await storeImage(client.repository({ registry: host, repository: 'vendor/driver' }), { layers }, '1.0');
    }
    await client.close();
  });

  afterAll(async () => {
    await elsewhere.close();
    await mirror.close();
    await proxy.close();
    await registry.close();
    await tokens.close();
    await rm(folder, { recursive: true, force: true });
  });

  interface SigningRun extends Finished {
    readonly tag: string;
    readonly left: readonly string[];
  }

  const login = ['--username', user.username, '--password-stdin', '--plain-http', '--retries', '0'];

  /** Signs through the proxy, with faults. */
  async function sign(choose?: ChooseFault, more: readonly string[] = []): Promise<SigningRun> {
    count += 1;
    const tag = `signed/run-${count}:1.0`;
    proxy.reset(choose);
    elsewhere.reset();
    const result = await runProgram(
      [
        ['sign', `${proxy.host}/vendor/driver:1.0`, `${proxy.host}/${tag}`, ...login, '--quiet'],
        ['--key', key.key, '--cert', key.certificate, ...more],
      ].flat(),
      { env: { TMPDIR: temporary }, input: user.password },
    );
    return { ...result, tag, left: await readdir(temporary) };
  }

  /** Exit code of `verify` at the registry itself: 3 when there is no such tag. */
  async function verify(tag: string): Promise<number | null> {
    const image = `${registry.host}/${tag}`;
    const { exitCode } = await runProgram(['verify', image, ...login, '--cert', key.certificate], {
      input: user.password,
    });
    return exitCode;
  }

  test('is signed in, with one token for each repository and set of actions', async () => {
    const seen = tokens.requests.length;
    const { exitCode, tag, left } = await sign();
    expect([exitCode, left, await verify(tag)]).toEqual([0, [], 0]);
    const scopes = tokens.requests.slice(seen).map((request) => request.scopes.join(' '));
    expect(new Set(scopes).size).toBe(scopes.length - 1); // The last is that of `verify`.
  });

  test('may take a token no longer at any request but the first with it', async () => {
    const challenge = `Bearer realm="${tokens.realm}",service="${tokens.service}",error="invalid_token"`;
    const expired = { kind: 'status', status: 401, headers: { 'www-authenticate': challenge } } as const;
    let fired = true;
    let at = 0;
    for (; fired; at += 1) {
      const known = new Set<string | undefined>([undefined]);
      let uses = 0;
      fired = false;
      const { exitCode, stderr, tag, left } = await sign(({ headers: { authorization } }) => {
        if (!known.has(authorization)) return void known.add(authorization);
        if (authorization === undefined || uses++ !== at) return undefined;
        fired = true;
        return expired;
      });
      expect({ at, exitCode, stderr, left }).toEqual({ at, exitCode: 0, stderr: '', left: [] });
      expect({ at, exitCode: await verify(tag) }).toEqual({ at, exitCode: 0 });
    }
    expect(at).toBeGreaterThan(5);
    // Each request that a signing makes has its run.
  }, 180_000);

  test('that sends nothing but expired tokens is an error, and nothing is published', async () => {
    tokens.issueExpired(true);
    const { exitCode, tag, left } = await sign();
    tokens.issueExpired(false);
    expect([exitCode, left, await verify(tag)]).toEqual([4, [], 3]);
  });

  test('may redirect downloads to another host, which gets no token', async () => {
    const { exitCode, tag, left } = await sign(({ method, path }) =>
      method === 'GET' && path.includes('/blobs/')
        ? { kind: 'status', status: 307, headers: { location: `${elsewhere.url}${path}` } }
        : undefined,
    );
    expect(elsewhere.requests.length).toBeGreaterThan(0);
    expect(elsewhere.requests.map(({ headers }) => headers.authorization)).toEqual(
      elsewhere.requests.map(() => undefined),
    );
    expect([exitCode, left, await verify(tag)]).toEqual([0, [], 0]);
  });

  test('that redirects an upload to another host sends no token there, and nothing is published', async () => {
    const { exitCode, tag, left } = await sign(({ method, path }) =>
      method === 'POST' && path.includes('/uploads/')
        ? { kind: 'status', status: 307, headers: { location: `${elsewhere.url}${path}` } }
        : undefined,
    );
    expect(elsewhere.requests.filter(({ headers }) => headers.authorization !== undefined)).toEqual([]);
    expect([exitCode, left, await verify(tag)]).toEqual([5, [], 3]);
  });

  test('is not asked at all when the key does not match the certificate', async () => {
    const other = await createTestKey(folder, 'other');
    const { exitCode, left, tag } = await sign(undefined, ['--cert', other.certificate]);
    expect([exitCode, proxy.requests, left, await verify(tag)]).toEqual([13, [], [], 3]);
  });

  test('is not asked at all when the passphrase is wrong', async () => {
    const directory = join(folder, 'encrypted');
    await runProgram(['keygen', '-o', directory, '--bits', '2048'], { env: { KMM_SIGN_PASSWORD: 'right' } });
    const files = ['--key', join(directory, 'signing_key.key'), '--cert', join(directory, 'signing_key.pem')];
    proxy.reset();
    const result = await runProgram(
      ['sign', `${proxy.host}/vendor/driver:1.0`, `${proxy.host}/x:1`, ...login, ...files],
      { env: { KMM_SIGN_PASSWORD: 'wrong', TMPDIR: temporary }, input: user.password },
    );
    expect([result.exitCode, proxy.requests]).toEqual([13, []]);
    expect(result.stderr).toContain('passphrase');
  });
});
