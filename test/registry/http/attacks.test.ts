import type * as Dns from 'node:dns/promises';
import { inspect } from 'node:util';
import type { RequestListener } from 'node:http';
import { describe, expect, it, vi } from 'vitest';
import { fixedKeychain } from '../../../src/registry/credentials/keychain.ts';
import { createAgents } from '../../../src/registry/http/agents.ts';
import { createCheckedLookup } from '../../../src/registry/http/address.ts';
import { createGotTransport } from '../../../src/registry/http/got-transport.ts';
import { nextHop, resolveRealm } from '../../../src/registry/http/redirects.ts';
import { readAtMost } from '../../../src/registry/http/response-body.ts';
import { checkStatus } from '../../../src/registry/http/response-error.ts';
import { Secret } from '../../../src/shared/secret.ts';
import { connect, rejection, rememberingLogger, startServer } from './local-server.ts';

/** No name of a test machine stands for two places, so this one is made up; others are looked up. */
vi.mock('node:dns/promises', async (original) => {
  const real = await original<typeof Dns>();
  const places = ['127.0.0.1', '169.254.169.254'].map((address) => ({ address, family: 4 }));
  const lookup = (name: string, options: { all: true }) =>
    name === 'two-places.example' ? Promise.resolve(places) : real.lookup(name, options);
  return { ...real, default: { ...real, lookup }, lookup };
});

const password = 'p4ssw0rd-of-alice';
const token = 'eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl';
const alice = fixedKeychain({ source: 'test', username: 'alice', password: new Secret(password) });

/** A registry that wants a token of the realm, and gives the token itself at /token. */
function tokenRegistry(realm: () => string, behind: RequestListener): RequestListener {
  return (request, response) => {
    if (request.url?.startsWith('/token') === true) {
      response.end(JSON.stringify({ token }));
    } else if (request.headers.authorization === `Bearer ${token}`) {
      behind(request, response);
    } else {
      response.writeHead(401, {
        'www-authenticate': `Bearer realm="${realm()}",service="s",scope="repository:a/b:pull"`,
      });
      response.end();
    }
  };
}

describe('a redirect', () => {
  it('to another host gets no Authorization, nor do later hops, not even back at the registry', async () => {
    await using storage = await startServer((_, response) =>
      response.writeHead(307, { location: `${registryUrl()}/back` }).end(),
    );
    await using registry = await startServer(
      tokenRegistry(
        () => '/token',
        (_, response) => response.writeHead(307, { location: `${storage.url}/blob?signature=1` }).end(),
      ),
    );
    const registryUrl = (): string => registry.url;
    await using client = connect(registry.host, { credentials: alice });
    const response = await client.transport({ method: 'GET', url: client.url('a/b/blobs/x') });
    expect(response.status).toBe(401);
    const later = [...storage.seen, ...registry.seen.filter(({ path }) => path === '/back')];
    expect(new Set(later.map(({ authorization }) => authorization))).toEqual(new Set([undefined]));
    expect(response.url.href).toBe(`${registry.url}/back`);
    response.body.destroy();
  });

  it('within the registry keeps Authorization', async () => {
    await using registry = await startServer(
      tokenRegistry(
        () => '/token',
        (request, response) =>
          request.url === '/v2/moved'
            ? response.end('here')
            : response.writeHead(301, { location: '/v2/moved' }).end(),
      ),
    );
    await using client = connect(registry.host, { credentials: alice });
    const response = await client.transport({ method: 'GET', url: client.url('a/b/blobs/x') });
    expect((await readAtMost(response.body, 100)).bytes.toString()).toBe('here');
  });

  it('in a circle ends', async () => {
    await using registry = await startServer((request, response) =>
      response.writeHead(302, { location: request.url }).end(),
    );
    await using client = connect(registry.host);
    const error = await rejection(client.transport({ method: 'GET', url: client.url('') }));
    expect(error).toMatchObject({ code: 'UNSAFE_REDIRECT' });
    expect(registry.seen).toHaveLength(11);
  });

  it('of an upload is not followed', async () => {
    await using elsewhere = await startServer((_, response) => response.end());
    await using registry = await startServer((_, response) =>
      response.writeHead(307, { location: elsewhere.url }).end(),
    );
    await using client = connect(registry.host);
    const response = await client.transport({
      method: 'PUT',
      url: client.url('a/b/manifests/x'),
      body: Buffer.from('{}'),
    });
    expect(response.status).toBe(307);
    response.body.destroy();
    expect(elsewhere.seen).toEqual([]);
  });

  const publicRegistry = new URL('https://registry.example/');
  const privateRegistry = new URL('https://10.1.2.3:5000/');
  const localRegistry = new URL('http://127.0.0.1:5000/');
  it.each([
    ['from https to http', publicRegistry, 'http://storage.example/'],
    ['to the metadata service', publicRegistry, 'https://169.254.169.254/latest/meta-data'],
    ['to the metadata service from a private registry', privateRegistry, 'https://169.254.169.254/'],
    ['to the metadata service from a local registry', localRegistry, 'http://169.254.169.254/'],
    ['to the metadata service in decimal', publicRegistry, 'https://2852039166/'],
    ['to the metadata service as an IPv6 address', publicRegistry, 'https://[::ffff:169.254.169.254]/'],
    ['to a private address', publicRegistry, 'https://10.0.0.1/'],
    ['to a private address in hexadecimal', publicRegistry, 'https://0xc0a80101/'],
    ['to a unique local address', publicRegistry, 'https://[fd00::1]/'],
    ['to this machine', publicRegistry, 'https://127.0.0.1/'],
    ['to this machine by name', publicRegistry, 'https://localhost/'],
    ['to this machine with a dot', publicRegistry, 'https://localhost./'],
    ['to this machine in short form', publicRegistry, 'https://127.1/'],
    ['to this machine in IPv6', publicRegistry, 'https://[::1]/'],
    ['to the metadata service through NAT64', publicRegistry, 'https://[64:ff9b::169.254.169.254]/'],
    ['to a private address through NAT64', publicRegistry, 'https://[64:ff9b::a00:1]/'],
    ['to this machine through NAT64', privateRegistry, 'https://[64:ff9b::7f00:1]/'],
    // RFC 6052, section 2.2: 10.0.0.1 below prefixes of 96, 64, 56 and 48 bits.
    [
      'to a private address through a local NAT64 of 96 bits',
      publicRegistry,
      'https://[64:ff9b:1::10.0.0.1]/',
    ],
    [
      'to a private address through a local NAT64 of 64 bits',
      publicRegistry,
      'https://[64:ff9b:1:2:a:0:100:0]/',
    ],
    [
      'to a private address through a local NAT64 of 56 bits',
      publicRegistry,
      'https://[64:ff9b:1:20a:0:1::]/',
    ],
    [
      'to a private address through a local NAT64 of 48 bits',
      publicRegistry,
      'https://[64:ff9b:1:a00:0:100::]/',
    ],
    ['to this machine through 6to4', publicRegistry, 'https://[2002:7f00:1::]/'],
    ['to a private address through 6to4', publicRegistry, 'https://[2002:c0a8:101::1]/'],
    ['to the metadata service, IPv4-compatible', publicRegistry, 'https://[::169.254.169.254]/'],
    ['to a private address, IPv4-translated', publicRegistry, 'https://[::ffff:0:10.0.0.1]/'],
    ['to a site-local address', publicRegistry, 'https://[fec0::1]/'],
    ['to no address', publicRegistry, 'https://0.0.0.0/'],
    ['to this machine from a private registry', privateRegistry, 'https://127.0.0.1/'],
    ['to a file', publicRegistry, 'file:///etc/passwd'],
    ['with a password in it', publicRegistry, 'https://user:pass@storage.example/'],
    ['with a password and no user name in it', publicRegistry, 'https://:pass@storage.example/'],
    ['with a user name in it', publicRegistry, 'https://user@storage.example/'],
    ['to no address from another one', new URL('https://0.0.0.1/'), 'https://0.0.0.2/'],
    ['to nonsense', publicRegistry, 'https://'],
  ])('%s is refused', (_, registry, location) => {
    const request = { method: 'GET', url: new URL('/v2/a/b/blobs/x', registry) } as const;
    expect(() => nextHop(request, location, registry)).toThrow(
      expect.objectContaining({ code: 'UNSAFE_REDIRECT' }),
    );
  });

  it.each([
    ['another public host', publicRegistry, 'https://storage.example/?signature=1'],
    ['a public address', publicRegistry, 'https://[2606:4700::1111]/'],
    ['a public address through NAT64', publicRegistry, 'https://[64:ff9b::8.8.8.8]/'],
    ['a public address through a local NAT64', publicRegistry, 'https://[64:ff9b:1::8.8.8.8]/'],
    ['a public address through 6to4', publicRegistry, 'https://[2002:808:808::1]/'],
    ['a private host beside a private registry', privateRegistry, 'https://10.9.9.9/'],
    ['another port of the registry', privateRegistry, 'https://10.1.2.3:9000/'],
    ['another port of this machine', localRegistry, 'http://127.0.0.1:9000/'],
  ])('to %s is followed', (_, registry, location) => {
    const request = {
      method: 'GET',
      url: new URL('/v2/', registry),
      headers: { authorization: 'x', accept: 'y' },
    } as const;
    expect(nextHop(request, location, registry)).toMatchObject({
      url: new URL(location),
      headers: { accept: 'y' },
    });
    expect(nextHop(request, location, registry).headers).not.toHaveProperty('authorization');
  });
});

describe('the realm of a challenge', () => {
  const registry = new URL('https://registry.example/');
  const rules = { registry, sendsCredentials: true, plainHttpTokenServers: ['auth.example'] };

  it('of a registry without TLS gets credentials over plain HTTP on its own host and where that was allowed', async () => {
    await using auth = await startServer((_, response) => response.end(JSON.stringify({ token })));
    // The same machine under another name.
    const realm = auth.host.replace('127.0.0.1', 'localhost');
    await using server = await startServer(
      tokenRegistry(
        () => `http://${realm}/token`,
        (_, response) => response.end('ok'),
      ),
    );
    const visit = async (options: Parameters<typeof connect>[1]): Promise<unknown> => {
      await using client = connect(server.host, { plainHttp: true, ...options });
      const response = await client.transport({ method: 'GET', url: client.url('a/b/blobs/x') });
      response.body.destroy();
      return response.status;
    };
    expect(await rejection(visit({ credentials: alice }))).toMatchObject({
      code: 'UNSAFE_REDIRECT',
      message: expect.stringContaining(realm),
      hint: expect.stringContaining(`--plain-http-token-server ${realm}`),
    });
    expect(auth.seen).toEqual([]);
    expect(await visit({})).toBe(200);
    expect(await visit({ credentials: alice, plainHttpTokenServers: [realm] })).toBe(200);
    expect(auth.seen.map(({ authorization }) => authorization?.split(' ')[0])).toEqual([undefined, 'Basic']);
  });

  it.each([
    ['without TLS', 'http://auth.example/token'],
    ['at the metadata service', 'https://169.254.169.254/token'],
    ['at a private address', 'https://192.168.0.1/token'],
    ['on this machine', 'https://localhost:8443/token'],
    ['that is a file', 'file:///token'],
    ['with a password', 'https://a:b@auth.example/token'],
    ['with a password and no user name', 'https://:b@auth.example/token'],
    ['with a user name', 'https://a@auth.example/token'],
    ['that is missing', ''],
  ])('%s is refused', (_, realm) => {
    expect(() => resolveRealm(realm, new URL('/v2/', registry), rules)).toThrow(
      expect.objectContaining({ code: 'UNSAFE_REDIRECT' }),
    );
  });

  it('keeps TLS on the registry itself, as redirects do', () => {
    const url = new URL('/v2/a/b/blobs/x', registry);
    expect(resolveRealm('http://registry.example/token', url, rules).href).toBe(
      'https://registry.example/token',
    );
    const request = { method: 'GET', url, headers: { authorization: 'x' } } as const;
    expect(nextHop(request, 'http://registry.example/y', registry)).toMatchObject({
      url: new URL('https://registry.example/y'),
      headers: { authorization: 'x' },
    });
  });

  it('is resolved against the registry', () => {
    expect(resolveRealm('/token', new URL('/v2/', registry), rules).href).toBe(
      'https://registry.example/token',
    );
  });

  it('gets no credentials when the challenge came from a host that the registry redirected to', async () => {
    await using thief = await startServer((request, response) => {
      response
        .writeHead(401, { 'www-authenticate': `Bearer realm="http://${request.headers.host ?? ''}/token"` })
        .end();
    });
    await using registryServer = await startServer((_, response) =>
      response.writeHead(302, { location: thief.url }).end(),
    );
    await using client = connect(registryServer.host, { credentials: alice });
    const response = await client.transport({ method: 'GET', url: client.url('a/b/blobs/x') });
    expect(response.status).toBe(401);
    response.body.destroy();
    expect(thief.seen.map(({ path, authorization }) => [path, authorization])).toEqual([['/', undefined]]);
  });

  it('that redirects to another host does not pass the password on', async () => {
    await using thief = await startServer((_, response) => response.end(JSON.stringify({ token })));
    await using realm = await startServer((_, response) =>
      response.writeHead(302, { location: thief.url }).end(),
    );
    await using server = await startServer(
      tokenRegistry(
        () => `${realm.url}/auth`,
        (_, response) => response.end(),
      ),
    );
    await using client = connect(server.host, { credentials: alice });
    const response = await client.transport({ method: 'GET', url: client.url('a/b/blobs/x') });
    response.body.destroy();
    expect(realm.seen[0]?.authorization).toMatch(/^Basic /);
    expect(thief.seen.map(({ authorization }) => authorization)).toEqual([undefined]);
  });
});

const find = (registry: string, name: string, all: boolean): Promise<unknown> =>
  new Promise((resolve) => {
    createCheckedLookup(registry)(name, { all, family: 4 }, (error, found) => resolve(error?.code ?? found));
  });

describe('a name', () => {
  it.each(['192.0.2.1', '10.1.2.3', '169.254.169.254', '[2001:db8::1]'])(
    'that stands for this machine is refused to a registry at %s',
    async (registry) => {
      expect(await find(registry, 'localhost', false)).toBe('ERR_UNSAFE_ADDRESS');
      expect(await find(registry, 'localhost', true)).toBe('ERR_UNSAFE_ADDRESS');
    },
  );

  it.each([
    ['192.0.2.1', '169.254.169.254', 'ERR_UNSAFE_ADDRESS'],
    ['192.0.2.1', '0.0.0.0', 'ERR_UNSAFE_ADDRESS'],
    ['127.0.0.1', '169.254.169.254', 'ERR_UNSAFE_ADDRESS'],
    ['192.0.2.1', '10.0.0.1', '10.0.0.1'],
    ['192.0.2.1', '198.51.100.7', '198.51.100.7'],
    ['localhost', 'localhost', '127.0.0.1'],
    ['169.254.1.1', '169.254.1.2', '169.254.1.2'],
  ])('of a registry at %s that stands for %s leads to %s', async (registry, address, outcome) => {
    // The system's lookup takes an address for a name of itself.
    expect(await find(registry, address, false)).toBe(outcome);
  });

  it.each(['192.0.2.1', '127.0.0.1', '169.254.1.1'])(
    'that stands for two places is refused to a registry at %s that may lead to one of them at most',
    async (registry) => {
      expect(await find(registry, 'two-places.example', true)).toBe('ERR_UNSAFE_ADDRESS');
    },
  );

  it('that resolves to this machine is refused with an error that explains it', async () => {
    const agents = createAgents({
      registryHost: '192.0.2.1',
      readTlsMaterial: () => Promise.resolve({ authorities: [] }),
      insecureSkipTlsVerify: false,
      environment: {},
    });
    await using server = await startServer((_, response) => response.end());
    const send = createGotTransport((url) => agents.for(url), 5000);
    const url = new URL(server.url.replace('127.0.0.1', 'localhost'));
    expect(await rejection(send({ method: 'GET', url }))).toMatchObject({
      code: 'UNSAFE_REDIRECT',
      message: expect.stringContaining('link-local'),
    });
    expect(server.seen).toEqual([]);
    await agents.close();
  });
});

describe('an upload location on another host', () => {
  it('gets no Authorization, even if the caller put one there, and its challenge is left alone', async () => {
    await using elsewhere = await startServer((_, response) =>
      response.writeHead(401, { 'www-authenticate': 'Basic realm="give me"' }).end(),
    );
    await using registry = await startServer(
      tokenRegistry(
        () => '/token',
        (_, response) => response.end(),
      ),
    );
    await using client = connect(registry.host, { credentials: alice });
    // From here on the client knows what the registry wants, and sends it unasked.
    const first = await client.transport({ method: 'GET', url: client.url('a/b/blobs/x') });
    expect(first.status).toBe(200);
    first.body.destroy();
    const response = await client.transport({
      method: 'PUT',
      url: new URL('/v2/a/b/blobs/uploads/1', elsewhere.url),
      headers: { authorization: `Bearer ${token}` },
      body: Buffer.from('x'),
    });
    expect(response.status).toBe(401);
    response.body.destroy();
    expect(elsewhere.seen.map(({ authorization }) => authorization)).toEqual([undefined]);
  });
});

/** Everything that an error or log line could show. */
function shown(value: unknown): string {
  return `${inspect(value, { depth: 10, showHidden: true })} ${JSON.stringify(value)} ${String(value)}`;
}

describe('secrets', () => {
  const secrets = [password, token, Buffer.from(`alice:${password}`).toString('base64'), 'signed-query'];

  const listeners: [string, RequestListener][] = [
    ['a registry that drops the connection', (request) => request.socket.destroy()],
    ['a registry that answers garbage', (request) => request.socket.end('HTTP/1.1 999999 no\r\n\r\n')],
    [
      'a registry that repeats what it was sent',
      (request, response) => response.writeHead(500).end(`you sent ${request.headers.authorization ?? ''}`),
    ],
    [
      'a registry that repeats it as an error',
      (request, response) =>
        response
          .writeHead(403)
          .end(JSON.stringify({ errors: [{ code: 'DENIED', message: request.headers.authorization }] })),
    ],
    [
      'a body that breaks off',
      (_, response) =>
        response.writeHead(200, { 'content-length': '100' }).write('short', () => response.destroy()),
    ],
    [
      'a redirect to a forbidden place',
      (_, response) => response.writeHead(302, { location: 'http://169.254.1.1/?x=signed-query' }).end(),
    ],
  ];

  it.each(listeners)('are in no error and no log line after %s', async (_, behind) => {
    await using registry = await startServer(tokenRegistry(() => '/token', behind));
    const logger = rememberingLogger();
    await using client = connect(registry.host, { credentials: alice, logger, retries: 1 });
    const error = await rejection(
      (async () => {
        const response = await client.transport({
          method: 'GET',
          url: client.url('a/b/blobs/x?y=signed-query'),
        });
        await readAtMost((await checkStatus(response, [200], { action: 'read a blob' })).body, 1000);
      })(),
    );
    expect(error).toMatchObject({ name: 'RegistryError' });
    expect(registry.seen.some(({ authorization }) => authorization === `Bearer ${token}`)).toBe(true);
    for (const secret of secrets) {
      expect(shown(error)).not.toContain(secret);
      expect(shown(logger.lines)).not.toContain(secret);
    }
  });

  it('are in no error when the token server hands out something that is no header value', async () => {
    await using registry = await startServer((request, response) =>
      request.url?.startsWith('/token') === true
        ? response.end(JSON.stringify({ token: `${token}\r\nx-evil: 1` }))
        : response.writeHead(401, { 'www-authenticate': 'Bearer realm="/token"' }).end(),
    );
    await using client = connect(registry.host, { credentials: alice });
    const error = await rejection(client.transport({ method: 'GET', url: client.url('a/b/blobs/x') }));
    expect(error).toMatchObject({ code: 'UNEXPECTED_RESPONSE' });
    for (const secret of secrets) expect(shown(error)).not.toContain(secret);
  });
});

describe('an endless answer of a token server', () => {
  it('is cut off', async () => {
    await using registry = await startServer((request, response) => {
      if (request.url?.startsWith('/token') !== true) {
        response.writeHead(401, { 'www-authenticate': 'Bearer realm="/token"' }).end();
        return;
      }
      const write = (): void => {
        while (!response.destroyed && response.write('x'.repeat(65_536)));
        response.once('drain', write);
      };
      write();
    });
    await using client = connect(registry.host);
    const error = await rejection(client.transport({ method: 'GET', url: client.url('a/b/blobs/x') }));
    expect(error).toMatchObject({
      code: 'UNEXPECTED_RESPONSE',
      message: expect.stringContaining('longer than'),
    });
  });
});

describe('a client certificate', () => {
  it('is for the registry alone', async () => {
    const shownTo: string[] = [];
    const agents = createAgents({
      registryHost: 'registry.example',
      readTlsMaterial: () => Promise.resolve({ authorities: [], certificate: 'none', key: 'none' }),
      insecureSkipTlsVerify: false,
      environment: {},
    });
    // A certificate that cannot be parsed shows where it is used.
    for (const host of ['registry.example', 'storage.example']) {
      await agents.for(new URL(`https://${host}/`)).catch(() => shownTo.push(host));
    }
    expect(shownTo).toEqual(['registry.example']);
    await agents.close();
  });
});
