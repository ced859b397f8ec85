import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { fixedKeychain, type Credential, type Keychain } from '../../../src/registry/credentials/keychain.ts';
import { checkStatus } from '../../../src/registry/http/response-error.ts';
import type { RegistryTransport } from '../../../src/registry/http/registry-transport.ts';
import { Secret } from '../../../src/shared/secret.ts';
import { describeWith } from '../../support/programs.ts';
import { describeEachRegistry, startTestRegistry, testUser } from '../../support/registries.ts';
import { startTokenServer, type TokenUser } from '../../support/token-server.ts';
import { connect, rejection, rememberingLogger } from './local-server.ts';

const blob = Buffer.from('some bytes');
const digest = `sha256:${createHash('sha256').update(blob).digest('hex')}`;

const login = (username: string, password: string): Credential => ({
  source: 'test',
  username,
  password: new Secret(password),
});

const candidates = (...credentials: Credential[]): Keychain => ({
  resolve: () => Promise.resolve(credentials),
});

/** Uploads a blob in one piece. */
async function push({ transport, url }: RegistryTransport, repository: string): Promise<void> {
  const scopes = [`repository:${repository}:pull,push`];
  const context = { action: 'store a blob' };
  const started = await transport({ method: 'POST', url: url(`${repository}/blobs/uploads/`), scopes });
  await checkStatus(started, [202], context);
  started.body.resume();
  const location = started.headers.location ?? '';
  const place = new URL(`${location}${location.includes('?') ? '&' : '?'}digest=${digest}`, started.url);
  const stored = await transport({ method: 'PUT', url: place, body: blob, scopes });
  await checkStatus(stored, [201], context);
  stored.body.resume();
}

async function head({ transport, url }: RegistryTransport, repository: string): Promise<number> {
  const response = await transport({ method: 'HEAD', url: url(`${repository}/blobs/${digest}`) });
  response.body.resume();
  return response.status;
}

const alice: TokenUser = {
  username: 'alice',
  password: 'wonder:land',
  refreshToken: 'refresh-alice',
  mayPushTo: ['vendor/driver'],
};

describeWith(['openssl'], 'tokens', () => {
  describeEachRegistry(
    'bearer authentication',
    (start) => {
      it('pushes with a user name and password, and asks for one token per repository and action set', async () => {
        await using tokens = await startTokenServer({ users: [alice] });
        await using registry = await start({ authentication: tokens });
        await using client = connect(registry.host, {
          credentials: fixedKeychain(login('alice', 'wonder:land')),
        });
        await push(client, 'vendor/driver');
        const statuses = await Promise.all(Array.from({ length: 12 }, () => head(client, 'vendor/driver')));
        expect(new Set(statuses)).toEqual(new Set([200]));
        expect(
          tokens.requests.map(({ method, scopes, user, service }) => [method, scopes, user, service]),
        ).toEqual([
          ['GET', ['repository:vendor/driver:pull,push'], 'alice', 'registry.test'],
          ['GET', ['repository:vendor/driver:pull'], 'alice', 'registry.test'],
        ]);
      });

      it('exchanges an identity token by POST', async () => {
        await using tokens = await startTokenServer({ users: [alice] });
        await using registry = await start({ authentication: tokens });
        const identityToken = new Secret('refresh-alice');
        await using client = connect(registry.host, {
          credentials: fixedKeychain({ source: 'test', identityToken }),
        });
        await push(client, 'vendor/driver');
        expect(tokens.requests.map(({ method, user }) => [method, user])).toEqual([['POST', 'alice']]);
      });

      it('falls back to GET where the token server knows no POST', async () => {
        await using tokens = await startTokenServer({ users: [alice], withoutPost: true });
        await using registry = await start({ authentication: tokens });
        const credential = { ...login('alice', 'wonder:land'), identityToken: new Secret('refresh-alice') };
        await using client = connect(registry.host, { credentials: fixedKeychain(credential) });
        await push(client, 'vendor/driver');
        expect(tokens.requests.map(({ method, status }) => [method, status])).toEqual([
          ['POST', 404],
          ['GET', 200],
        ]);
      });

      it('tries the next credential when the token server refuses one, and stays with what worked', async () => {
        await using tokens = await startTokenServer({ users: [alice] });
        await using registry = await start({ authentication: tokens });
        const credentials = candidates(login('alice', 'old password'), login('alice', 'wonder:land'));
        await using client = connect(registry.host, { credentials });
        await push(client, 'vendor/driver');
        expect(await head(client, 'vendor/driver')).toBe(200);
        expect(tokens.requests.map(({ status }) => status)).toEqual([401, 200, 200]);
      });

      it('reads anonymously, with a warning, when the credentials are refused', async () => {
        await using tokens = await startTokenServer({ users: [alice], anonymousPull: true });
        await using registry = await start({ authentication: tokens });
        await using writer = connect(registry.host, {
          credentials: fixedKeychain(login('alice', 'wonder:land')),
        });
        await push(writer, 'vendor/driver');
        const logger = rememberingLogger();
        await using reader = connect(registry.host, {
          credentials: fixedKeychain(login('alice', 'stale')),
          logger,
        });
        expect(await head(reader, 'vendor/driver')).toBe(200);
        expect(logger.lines.filter(({ level }) => level === 'warn')).toHaveLength(1);
      });

      it('does not write anonymously when the credentials are refused, and names where they came from', async () => {
        await using tokens = await startTokenServer({ users: [alice], anonymousPull: true });
        await using registry = await start({ authentication: tokens });
        await using client = connect(registry.host, { credentials: fixedKeychain(login('alice', 'stale')) });
        const error = await rejection(push(client, 'vendor/driver'));
        expect(error).toMatchObject({ code: 'UNAUTHORIZED', facts: { sources: ['test'] } });
      });

      it('reports that the user may not push', async () => {
        await using tokens = await startTokenServer({ users: [alice] });
        await using registry = await start({ authentication: tokens });
        await using client = connect(registry.host, {
          credentials: fixedKeychain(login('alice', 'wonder:land')),
        });
        const error = await rejection(push(client, 'someone/else'));
        expect(error).toMatchObject({ code: 'UNAUTHORIZED', facts: { status: 401 } });
      });

      it('stops after one more attempt when the registry accepts no token', async () => {
        await using tokens = await startTokenServer({ users: [alice] });
        await using registry = await start({ authentication: tokens });
        tokens.issueExpired(true);
        await using client = connect(registry.host, {
          credentials: fixedKeychain(login('alice', 'wonder:land')),
        });
        const error = await rejection(push(client, 'vendor/driver'));
        expect(error).toMatchObject({ code: 'UNAUTHORIZED' });
        expect(tokens.requests).toHaveLength(1);
        tokens.issueExpired(false);
        await push(client, 'vendor/driver');
      });
    },
    ['docker-registry', 'distribution'],
  );

  describeEachRegistry('TLS', (start) => {
    it('trusts a private authority that was named, and no other server', async () => {
      await using registry = await start({ tls: true });
      await using stranger = connect(registry.host);
      const error = await rejection(head(stranger, 'a/b'));
      expect(error).toMatchObject({ code: 'NETWORK', hint: expect.stringContaining('--ca-file') });
      await using friend = connect(registry.host, { caFiles: [registry.caFile ?? ''] });
      await push(friend, 'vendor/driver');
      expect(await head(friend, 'vendor/driver')).toBe(200);
      expect(friend.origin()).toBe(registry.url);
    });

    it('skips verification only when configured to', async () => {
      await using registry = await start({ tls: true });
      await using client = connect(registry.host, { insecureSkipTlsVerify: true });
      await push(client, 'vendor/driver');
      expect(await head(client, 'vendor/driver')).toBe(200);
    });
  });
});

describeEachRegistry('basic authentication', (start) => {
  it('pushes with the right password and not with a wrong one', async () => {
    await using registry = await start({ authentication: 'basic' });
    const right = login(testUser.username, testUser.password);
    await using client = connect(registry.host, { credentials: candidates(login('tester', 'wrong'), right) });
    await push(client, 'vendor/driver');
    expect(await head(client, 'vendor/driver')).toBe(200);
    await using wrong = connect(registry.host, { credentials: candidates(login('tester', 'wrong')) });
    expect(await rejection(push(wrong, 'vendor/driver'))).toMatchObject({ code: 'UNAUTHORIZED' });
    await using nobody = connect(registry.host);
    expect(await rejection(push(nobody, 'vendor/driver'))).toMatchObject({ code: 'UNAUTHORIZED' });
  });
});

describe('plain HTTP', () => {
  it('is found out on this very machine, and port and path are kept', async () => {
    await using registry = await startTestRegistry('embedded');
    await using client = connect(registry.host);
    await push(client, 'vendor/driver');
    expect(client.origin()).toBe(registry.url);
  });
});
