import { once } from 'node:events';
import { createServer } from 'node:http';
import { Readable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import {
  anonymousKeychain,
  fixedKeychain,
  type Keychain,
} from '../../../src/registry/credentials/keychain.ts';
import { createRegistryTransport, withLimit } from '../../../src/registry/http/registry-transport.ts';
import { readAtMost } from '../../../src/registry/http/response-body.ts';
import { responseError } from '../../../src/registry/http/response-error.ts';
import type { HttpResponse, Transport } from '../../../src/registry/http/transport.ts';
import { withPlainHttpFallback } from '../../../src/registry/http/with-plain-http-fallback.ts';
import { withRetry } from '../../../src/registry/http/with-retry.ts';
import { silentLogger } from '../../../src/shared/logger.ts';
import { Secret } from '../../../src/shared/secret.ts';
import { freePort } from '../../support/processes.ts';
import { connect, rejection, rememberingLogger, startServer } from './local-server.ts';

const text = async (response: HttpResponse): Promise<string> =>
  (await readAtMost(response.body, 10_000)).bytes.toString();

describe('retries', () => {
  it.each([408, 429, 499, 500, 502, 503, 504, 522])('get over a %i', async (status) => {
    await using server = await startServer((_, response) =>
      response.writeHead(server.seen.length < 3 ? status : 200).end('at last'),
    );
    await using client = connect(server.host);
    expect(await text(await client.transport({ method: 'GET', url: client.url('x') }))).toBe('at last');
    expect(server.seen).toHaveLength(3);
  });

  it('get over a connection that breaks', async () => {
    await using server = await startServer((request, response) =>
      server.seen.length < 3 ? request.socket.destroy() : response.end('at last'),
    );
    await using client = connect(server.host, { plainHttp: true });
    expect(await text(await client.transport({ method: 'GET', url: client.url('x') }))).toBe('at last');
  });

  it('end, and return the last response', async () => {
    await using server = await startServer((_, response) => response.writeHead(503).end('never'));
    await using client = connect(server.host, { retries: 2 });
    expect(await text(await client.transport({ method: 'GET', url: client.url('x') }))).toBe('never');
    expect(server.seen).toHaveLength(3);
  });

  it('are said, as a warning for the first of a host only', async () => {
    await using server = await startServer((_, response) => response.writeHead(503).end());
    const logger = rememberingLogger();
    await using client = connect(server.host, { retries: 2, plainHttp: true, logger });
    await text(await client.transport({ method: 'GET', url: client.url('x') }));
    expect(logger.lines.filter(({ message }) => message === 'Trying again')).toMatchObject([
      { level: 'warn', fields: { method: 'GET', reason: 503 } },
      { level: 'debug', fields: { method: 'GET', reason: 503 } },
    ]);
  });

  it.each([404, 400, 501])('are not made after a %i', async (status) => {
    await using server = await startServer((_, response) => response.writeHead(status).end());
    await using client = connect(server.host);
    const response = await client.transport({ method: 'GET', url: client.url('x') });
    response.body.destroy();
    expect(server.seen).toHaveLength(1);
  });

  it('are not made for uploads, but for those that allow it, whose body is opened afresh', async () => {
    await using server = await startServer((request, response) => {
      void request
        .toArray()
        .then((chunks) => response.writeHead(server.seen.length < 3 ? 503 : 201).end(Buffer.concat(chunks)));
    });
    await using client = connect(server.host, { plainHttp: true });
    const upload = {
      method: 'PUT',
      url: client.url('x'),
      body: () => Readable.from(['ab', 'cd']),
      contentLength: 4,
    } as const;
    expect((await client.transport(upload)).status).toBe(503);
    expect(server.seen).toHaveLength(1);
    const response = await client.transport({ ...upload, retriable: true });
    expect([response.status, await text(response)]).toEqual([201, 'abcd']);
    expect(server.seen.at(-1)?.headers).toMatchObject({ 'content-length': '4' });
  });

  it('wait as long as the server asks, with every request to it, and not longer than allowed', async () => {
    const slept: number[] = [];
    let time = 1_000_000;
    const answers: [number, string][] = [
      [429, '7'],
      [200, ''],
      [429, '3600'],
    ];
    const inner: Transport = ({ url }) => {
      const [status, after] = answers.shift() ?? [200, ''];
      return Promise.resolve({ status, url, headers: { 'retry-after': after }, body: Readable.from([]) });
    };
    const send = withRetry(inner, {
      retries: 4,
      retryDelay: 500,
      maxRetryAfter: 60_000,
      logger: silentLogger,
      now: () => time,
      sleep: (milliseconds) => {
        slept.push(milliseconds);
        time += milliseconds;
        return Promise.resolve();
      },
    });
    const request = { method: 'GET', url: new URL('https://r.example/') } as const;
    expect((await send(request)).status).toBe(200);
    expect((await send(request)).status).toBe(429);
    expect(slept).toEqual([7000]);
  });

  it('end when the caller aborts', async () => {
    await using server = await startServer((_, response) => {
      controller.abort(new Error('enough'));
      response.writeHead(503, { 'retry-after': '100' }).end();
    });
    const controller = new AbortController();
    await using client = connect(server.host, { plainHttp: true });
    const error = await rejection(
      client.transport({ method: 'GET', url: client.url('x'), signal: controller.signal }),
    );
    expect(error).toMatchObject({ message: 'enough' });
    expect(server.seen).toHaveLength(1);
  });
});

async function* breakOff(): AsyncGenerator<string> {
  yield 'ab';
  await Promise.resolve();
  throw new Error('disk');
}

async function* endless(): AsyncGenerator<Buffer> {
  for (;;) yield Promise.resolve(Buffer.alloc(65_536));
}

function brokenBody(): Readable {
  return Readable.from(breakOff());
}

describe('a body', () => {
  it('comes as it was sent, whatever encoding is claimed', async () => {
    await using server = await startServer((_, response) =>
      response.writeHead(200, { 'content-encoding': 'gzip' }).end('not gzip'),
    );
    await using client = connect(server.host);
    expect(await text(await client.transport({ method: 'GET', url: client.url('x') }))).toBe('not gzip');
    expect(server.seen.at(-1)?.headers['accept-encoding']).toBe('identity');
  });

  it('that ends too early is an error', async () => {
    await using server = await startServer((_, response) => {
      response.writeHead(200, { 'content-length': '100' }).write('short', () => response.socket?.end());
    });
    await using client = connect(server.host);
    const response = await client.transport({ method: 'GET', url: client.url('x') });
    expect(await rejection(text(response))).toMatchObject({ code: 'NETWORK' });
  });

  it('that falls silent is an error', async () => {
    await using server = await startServer((_, response) => {
      response.writeHead(200, { 'content-length': '100' }).write('short');
    });
    await using client = connect(server.host, { idleTimeout: 50 });
    const response = await client.transport({ method: 'GET', url: client.url('x') });
    expect(await rejection(text(response))).toMatchObject({
      code: 'NETWORK',
      facts: { reason: 'ETIMEDOUT' },
    });
  });

  it('that never begins is an error', async () => {
    await using server = await startServer(() => {});
    await using client = connect(server.host, { idleTimeout: 50, plainHttp: true, retries: 0 });
    const error = await rejection(client.transport({ method: 'GET', url: client.url('x') }));
    expect(error).toMatchObject({ code: 'NETWORK', facts: { reason: 'ETIMEDOUT' } });
  });

  it('of an upload that fails to be read ends the request with its own error', async () => {
    await using server = await startServer((request, response) =>
      request.resume().once('end', () => response.end()),
    );
    await using client = connect(server.host, { plainHttp: true });
    const error = await rejection(
      client.transport({ method: 'PUT', url: client.url('x'), body: brokenBody, contentLength: 4 }),
    );
    expect(error).toMatchObject({ message: 'disk' });
  });

  it('of an upload is closed when the server answers before it was read', async () => {
    await using server = await startServer((_, response) =>
      response.writeHead(413, { connection: 'close' }).end(),
    );
    await using client = connect(server.host, { plainHttp: true });
    const source = Readable.from(endless());
    const closed = new Promise((resolve) => source.on('error', () => {}).once('close', resolve));
    const put = { method: 'PUT', url: client.url('x'), body: () => source, contentLength: 1e12 } as const;
    await client.transport(put).then(text, () => {});
    await closed;
    expect(source.destroyed).toBe(true);
  });

  it('is ended by its signal', async () => {
    await using server = await startServer((_, response) => {
      response.writeHead(200, { 'content-length': '100' }).write('short');
    });
    const controller = new AbortController();
    await using client = connect(server.host);
    const response = await client.transport({
      method: 'GET',
      url: client.url('x'),
      signal: controller.signal,
    });
    const reading = rejection(text(response));
    controller.abort(new Error('enough'));
    expect(await reading).toMatchObject({ message: 'enough' });
  });
});

describe('a registry that cannot be reached', () => {
  it('is named, with what to do', async () => {
    const port = await freePort();
    await using client = connect(`127.0.0.1:${port}`, { retries: 0 });
    const error = await rejection(client.transport({ method: 'GET', url: client.url('x') }));
    expect(error).toMatchObject({
      code: 'NETWORK',
      message: expect.stringContaining(`127.0.0.1:${port}`),
      facts: { reason: 'ECONNREFUSED' },
    });
  });

  it('without TLS gets the hint to say so, unless it is on this very machine', async () => {
    // 127.0.0.2 is this machine, but not by its literal names.
    await using server = await startServer((_, response) => response.end(), '127.0.0.2');
    await using client = connect(server.host);
    const error = await rejection(client.transport({ method: 'GET', url: client.url('x') }));
    expect(error).toMatchObject({ code: 'NETWORK', hint: expect.stringContaining('--plain-http') });
    await using plain = connect(server.host, { plainHttp: true });
    expect((await plain.transport({ method: 'GET', url: plain.url('x') })).status).toBe(200);
  });

  it.each(['127.0.0.1', '::1'])('over TLS at %s is reached over plain HTTP', async (address) => {
    await using server = await startServer((_, response) => response.end('plain'), address);
    await using client = connect(server.host);
    expect(client.origin()).toBe(`https://${server.host}`);
    expect(await text(await client.transport({ method: 'GET', url: client.url('x') }))).toBe('plain');
    expect(client.origin()).toBe(server.url);
  });
});

const startLate = (port: number): Promise<AsyncDisposable> => {
  const server = createServer((_, response) => response.end('plain')).listen(port, '127.0.0.1');
  const close = async (): Promise<void> => {
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
  };
  return once(server, 'listening').then(() => ({ [Symbol.asyncDispose]: close }));
};

describe('a registry without TLS on this machine that comes up late', () => {
  it('is reached by the next request', async () => {
    const port = await freePort();
    await using client = connect(`127.0.0.1:${port}`, { retries: 0 });
    const get = (): Promise<HttpResponse> => client.transport({ method: 'GET', url: client.url('x') });
    expect(await rejection(get())).toMatchObject({ facts: { reason: 'ECONNREFUSED' } });
    await using _ = await startLate(port);
    expect(await text(await get())).toBe('plain');
  });

  it('is reached by a retry of the same request', async () => {
    const port = await freePort();
    const started = Promise.withResolvers<AsyncDisposable>();
    const logger = { ...silentLogger, warn: () => started.resolve(startLate(port)) };
    await using client = connect(`127.0.0.1:${port}`, { retries: 12, logger });
    expect(await text(await client.transport({ method: 'GET', url: client.url('x') }))).toBe('plain');
    await using _ = await started.promise;
  });
});

it('a registry without TLS on this machine is the only host that is spoken to without', async () => {
  await using server = await startServer((_, response) => response.end('plain'));
  const seen: string[] = [];
  const inner: Transport = ({ url }) => {
    seen.push(url.href);
    return Promise.resolve({ status: 200, url, headers: {}, body: Readable.from([]) });
  };
  const origin = { url: new URL(`https://${server.host}/`) };
  const send = withPlainHttpFallback(inner, origin, silentLogger);
  for (const url of [`https://${server.host}/v2/`, 'https://auth.example/token', 'https://127.0.0.1:1/'])
    await send({ method: 'GET', url: new URL(url) });
  expect(seen).toEqual([`${server.url}/v2/`, 'https://auth.example/token', 'https://127.0.0.1:1/']);
});

describe('a token', () => {
  it('that the registry no longer takes in the middle of a transfer is replaced, once for all requests', async () => {
    let issued = 0;
    let good = 1;
    await using server = await startServer((request, response) => {
      if (request.url?.startsWith('/token') === true) response.end(JSON.stringify({ token: `t${++issued}` }));
      else if (request.headers.authorization === `Bearer t${good}`) response.end('ok');
      else response.writeHead(401, { 'www-authenticate': 'Bearer realm="/token",service="s"' }).end();
    });
    await using client = connect(server.host, { concurrency: 8 });
    const get = async (): Promise<string> =>
      text(await client.transport({ method: 'GET', url: client.url('a/b/blobs/x') }));
    expect(await get()).toBe('ok');
    good = 2;
    expect(await Promise.all(Array.from({ length: 8 }, get))).toEqual(Array.from({ length: 8 }, () => 'ok'));
    expect(issued).toBe(2);
  });

  it('with too small a scope is replaced by one with the required scope, listed first', async () => {
    const asked: string[][] = [];
    await using server = await startServer((request, response) => {
      const url = new URL(request.url ?? '', 'http://x');
      if (url.pathname === '/token') {
        asked.push(url.searchParams.getAll('scope'));
        response.end(JSON.stringify({ access_token: url.searchParams.getAll('scope').join('_') }));
      } else if (request.headers.authorization?.includes('special') === true) {
        response.end('ok');
      } else {
        const problem =
          request.headers.authorization === undefined
            ? ''
            : ',scope="special:x:*",error="insufficient_scope"';
        response.writeHead(401, { 'www-authenticate': `Bearer realm="/token"${problem}` }).end();
      }
    });
    await using client = connect(server.host);
    const get = async (): Promise<string> =>
      text(await client.transport({ method: 'GET', url: client.url('a/b/blobs/x') }));
    expect(await get()).toBe('ok');
    expect(asked).toEqual([['repository:a/b:pull'], ['special:x:*', 'repository:a/b:pull']]);
    expect(await get()).toBe('ok');
    expect(asked).toHaveLength(2);
  });

  it('server that renews the refresh token is given the new one', async () => {
    const given: (string | null)[] = [];
    await using server = await startServer((request, response) => {
      if (request.url === '/token') {
        return void request.toArray().then((chunks) => {
          given.push(new URLSearchParams(Buffer.concat(chunks).toString()).get('refresh_token'));
          return response.end(
            JSON.stringify({ access_token: 't', refresh_token: `renewed-${given.length}` }),
          );
        });
      }
      if (request.headers.authorization === 'Bearer t') return response.end('ok');
      return response.writeHead(401, { 'www-authenticate': 'Bearer realm="/token"' }).end();
    });
    const credentials = fixedKeychain({ source: 'test', identityToken: new Secret('first') });
    await using client = connect(server.host, { credentials, plainHttp: true });
    for (const repository of ['a/b', 'c/d'])
      await text(await client.transport({ method: 'GET', url: client.url(`${repository}/blobs/x`) }));
    expect(given).toEqual(['first', 'renewed-1']);
  });

  it('with another scope in each challenge is not requested endlessly', async () => {
    let challenges = 0;
    await using server = await startServer((request, response) => {
      if (request.url?.startsWith('/token') === true) return response.end(JSON.stringify({ token: 't' }));
      challenges += 1;
      const challenge = `Bearer realm="/token",scope="special:${challenges}:*"`;
      return response.writeHead(401, { 'www-authenticate': challenge }).end();
    });
    await using client = connect(server.host, { plainHttp: true });
    const response = await client.transport({ method: 'GET', url: client.url('a/b/blobs/x') });
    response.body.destroy();
    expect([response.status, challenges]).toEqual([401, 9]);
  });

  it('without a user is requested to read, and never to push', async () => {
    await using server = await startServer((request, response) => {
      const { authorization } = request.headers;
      if (request.url?.startsWith('/token') === true && authorization === undefined)
        return response.end(JSON.stringify({ token: 'anonymous' }));
      if (authorization === 'Bearer anonymous') return response.end('ok');
      return response.writeHead(401, { 'www-authenticate': 'Bearer realm="/token"' }).end();
    });
    const credentials = fixedKeychain({ source: 'test', username: 'alice', password: new Secret('old') });
    await using client = connect(server.host, { credentials, plainHttp: true });
    const request = { method: 'GET', url: client.url('a/b/blobs/x') } as const;
    const push = client.transport({ ...request, scopes: ['repository:a/b:pull,push'] });
    expect(await rejection(push)).toMatchObject({ code: 'UNAUTHORIZED' });
    const tokens = () => server.seen.filter(({ path }) => path.startsWith('/token'));
    expect(tokens().map(({ authorization }) => authorization?.split(' ')[0])).toEqual(['Basic']);
    expect(await text(await client.transport(request))).toBe('ok');
  });

  it('that was given by hand is sent as it is', async () => {
    await using server = await startServer((request, response) =>
      request.headers.authorization === 'Bearer by-hand'
        ? response.end('ok')
        : response
            .writeHead(401, { 'www-authenticate': 'Bearer realm="https://nowhere.invalid/token"' })
            .end(),
    );
    const credentials = fixedKeychain({ source: 'test', registryToken: new Secret('by-hand') });
    await using client = connect(server.host, { credentials });
    expect(await text(await client.transport({ method: 'GET', url: client.url('a/b/blobs/x') }))).toBe('ok');
  });

  it('is not requested for an aborted request, and a pending request for one ends with it', async () => {
    const arrived = Promise.withResolvers<void>();
    const gone = Promise.withResolvers<void>();
    let answers = true;
    await using server = await startServer((request, response) => {
      if (request.url?.startsWith('/token') === true) {
        if (answers) return void response.end(JSON.stringify({ token: 't' }));
        arrived.resolve();
        return void response.once('close', () => gone.resolve());
      }
      if (request.headers.authorization === 'Bearer t') response.end('ok');
      else response.writeHead(401, { 'www-authenticate': 'Bearer realm="/token"' }).end();
    });
    await using client = connect(server.host);
    const get = (repository: string, signal?: AbortSignal): Promise<HttpResponse> =>
      client.transport({ method: 'GET', url: client.url(`${repository}/blobs/x`), signal });
    expect(await text(await get('a/b'))).toBe('ok');
    answers = false;
    const seen = server.seen.length;
    expect(await rejection(get('a/c', AbortSignal.abort(new Error('enough'))))).toMatchObject({
      message: 'enough',
    });
    const stop = new AbortController();
    const waiting = rejection(get('a/c', stop.signal));
    await arrived.promise;
    stop.abort(new Error('enough'));
    expect(await waiting).toMatchObject({ message: 'enough' });
    await gone.promise;
    // The second request's alone.
    const paths = server.seen.slice(seen).map(({ path }) => path.replace(/\?.*/, ''));
    expect(paths).toEqual(['/token']);
  });

  it('request is retried when the token server is busy', async () => {
    let tries = 0;
    await using server = await startServer((request, response) => {
      if (request.url?.startsWith('/token') === true) {
        response.writeHead(++tries < 3 ? 503 : 200).end(JSON.stringify({ token: 't' }));
      } else if (request.headers.authorization === 'Bearer t') response.end('ok');
      else response.writeHead(401, { 'www-authenticate': 'Bearer realm="/token"' }).end();
    });
    await using client = connect(server.host);
    expect(await text(await client.transport({ method: 'GET', url: client.url('a/b/blobs/x') }))).toBe('ok');
  });

  it('server that fails for good is named, and nothing is retried twice over', async () => {
    let tries = 0;
    await using server = await startServer((request, response) => {
      if (request.url?.startsWith('/token') === true) tries++;
      response
        .writeHead(request.url?.startsWith('/token') === true ? 500 : 401, {
          'www-authenticate': 'Bearer realm="/token"',
        })
        .end();
    });
    await using client = connect(server.host, { retries: 2 });
    const error = await rejection(client.transport({ method: 'GET', url: client.url('a/b/blobs/x') }));
    expect(error).toMatchObject({ code: 'UNEXPECTED_RESPONSE', message: expect.stringContaining('token') });
    expect(tries).toBe(3);
  });
});

describe('warnings of a registry', () => {
  it('are shown once', async () => {
    await using server = await startServer((_, response) =>
      response.writeHead(200, { warning: '299 - "going away"' }).end(),
    );
    const logger = rememberingLogger();
    await using client = connect(server.host, { logger });
    for (const path of ['x', 'y'])
      await text(await client.transport({ method: 'GET', url: client.url(path) }));
    const shown = logger.lines.filter(({ level }) => level === 'warn').map(({ fields }) => fields);
    expect(shown).toEqual([{ registry: server.host, warning: 'going away' }]);
  });
});

describe('the limit of requests', () => {
  it('is enforced, and does not block uploads whose bodies are downloads', async () => {
    let [running, most] = [0, 0];
    const inner: Transport = async ({ url, body }) => {
      most = Math.max(most, ++running);
      if (typeof body === 'function') await readAtMost(Readable.from(body()), 100);
      await Promise.resolve();
      running--;
      return { status: 200, url, headers: {}, body: Readable.from([]) };
    };
    const send = withLimit(inner, 2);
    const url = new URL('https://r.example/');
    const download = (): Readable =>
      Readable.from(
        (async function* () {
          yield await send({ method: 'GET', url }).then(() => Buffer.from('x'));
        })(),
      );
    await Promise.all(Array.from({ length: 10 }, () => send({ method: 'PUT', url, body: download })));
    // Two with a body that is being read, and two without.
    expect(most).toBe(4);
    await Promise.all(Array.from({ length: 10 }, () => send({ method: 'GET', url })));
    expect(running).toBe(0);
  });
});

function answer(status: number, body: string, headers: Record<string, string> = {}): HttpResponse {
  return {
    status,
    headers,
    url: new URL('https://r.example/v2/a/manifests/1?secret=1'),
    body: Readable.from([Buffer.from(body)]),
  };
}

describe('responseError', () => {
  it.each([
    [404, 'NOT_FOUND'],
    [401, 'UNAUTHORIZED'],
    [403, 'DENIED'],
    [429, 'TOO_MANY_REQUESTS'],
    [500, 'UNEXPECTED_RESPONSE'],
    [302, 'UNEXPECTED_RESPONSE'],
  ])('makes %i %s', async (status, code) => {
    expect(await responseError(answer(status, ''), { action: 'read it' })).toMatchObject({
      code,
      facts: { status },
    });
  });

  it('says what the registry says, with the URL but not its query', async () => {
    const body = JSON.stringify({
      errors: [{ code: 'MANIFEST_UNKNOWN', message: 'manifest unknown', detail: { Tag: '1' } }],
    });
    const error = await responseError(answer(404, body), {
      action: 'read the manifest a:1',
      facts: { repository: 'a' },
    });
    expect(error.message).toBe(
      'Cannot read the manifest a:1: r.example responded with 404 MANIFEST_UNKNOWN (manifest unknown)',
    );
    expect(error.facts).toMatchObject({
      repository: 'a',
      url: 'https://r.example/v2/a/manifests/1?…',
      registryCodes: ['MANIFEST_UNKNOWN'],
    });
  });

  it('takes plain text, and leaves out pages of HTML', async () => {
    const limit = await responseError(answer(429, 'too many requests', { 'retry-after': '30' }), {
      action: 'x',
    });
    expect(limit).toMatchObject({
      message: expect.stringContaining('(too many requests)'),
      facts: { retryAfterSeconds: 30 },
    });
    expect((await responseError(answer(502, '<html>no'), { action: 'x' })).message).toBe(
      'Cannot x: r.example responded with 502',
    );
  });
});

const alice = fixedKeychain({
  source: 'auth.json (here)',
  username: 'alice',
  password: new Secret('s3cr3t'),
});
const refuse = async (
  challenge: string,
  options: Parameters<typeof connect>[1],
  status = 401,
): Promise<{ message: string; hint: string | undefined; lines: unknown }> => {
  await using server = await startServer((request, response) => {
    if (request.url?.startsWith('/token') === true) response.end(JSON.stringify({ token: 't' }));
    else if (request.headers.authorization === undefined)
      response.writeHead(401, { 'www-authenticate': challenge }).end();
    else response.writeHead(status, { 'www-authenticate': challenge }).end();
  });
  const logger = rememberingLogger();
  await using client = connect(server.host, { ...options, plainHttp: true, logger });
  const get = (): Promise<HttpResponse> =>
    client.transport({ method: 'GET', url: client.url('a/b/manifests/1') });
  await text(await get());
  const { message, hint } = await responseError(await get(), { action: 'read it' });
  return { message, hint: hint?.replaceAll(server.host, 'HOST'), lines: logger.lines };
};

it('credentials are looked for no longer than the signal of the request allows', async () => {
  await using server = await startServer((_, response) =>
    response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end(),
  );
  const asked = Promise.withResolvers<AbortSignal | undefined>();
  const credentials: Keychain = {
    resolve: (_, { signal } = {}) => {
      asked.resolve(signal);
      return new Promise(() => {});
    },
  };
  await using client = connect(server.host, { credentials, plainHttp: true });
  const stop = new AbortController();
  const waiting = rejection(client.transport({ method: 'GET', url: client.url('x'), signal: stop.signal }));
  const signal = await asked.promise;
  stop.abort(new Error('enough'));
  expect(await waiting).toMatchObject({ message: 'enough' });
  expect(signal?.aborted).toBe(true);
});

describe('a refusal', () => {
  it.each(['Basic realm="x"', 'Bearer realm="/token"'])(
    'of credentials (%s) names the user and where they came from, also at later requests',
    async (challenge) => {
      const { hint, lines } = await refuse(challenge, { credentials: alice });
      expect(hint).toBe(
        'HOST refused the user name "alice" from auth.json (here): check these credentials, or log in again.',
      );
      expect(lines).toContainEqual({
        level: 'debug',
        message: 'Credentials found',
        fields: expect.objectContaining({ credentials: ['the user name "alice" from auth.json (here)'] }),
      });
      expect(JSON.stringify(lines)).not.toContain('s3cr3t');
    },
  );

  it('without credentials says that there were none', async () => {
    const { hint, lines } = await refuse('Basic realm="x"', {});
    expect(hint).toMatch(/^No credentials for HOST were found: log in/);
    expect(lines).toContainEqual(
      expect.objectContaining({ level: 'debug', message: 'No credentials found, continuing anonymously' }),
    );
  });

  it('of what the user may not do names the user', async () => {
    const { hint } = await refuse('Basic realm="x"', { credentials: alice }, 403);
    expect(hint).toMatch(/^The request used the user name "alice" from auth.json \(here\);/);
  });
});

describe('Docker Hub', () => {
  it('is reached where its API is', async () => {
    const client = createRegistryTransport('docker.io', anonymousKeychain, {});
    expect(client.url('library/busybox/manifests/latest').href).toBe(
      'https://registry-1.docker.io/v2/library/busybox/manifests/latest',
    );
    await client.close();
  });
});

it('what is received stays as it was while other connections receive', async () => {
  const size = 3 * 1024 * 1024;
  await using server = await startServer((request, response) =>
    response.end(Buffer.alloc(size, request.url?.at(-1))),
  );
  await using client = connect(server.host, { plainHttp: true });
  const bodies = ['a', 'b', 'c'].map(async (letter) => {
    const { body } = await client.transport({ method: 'GET', url: client.url(letter) });
    const chunks: Buffer[] = await body.toArray();
    return { letter, chunks };
  });
  for (const { letter, chunks } of await Promise.all(bodies))
    expect(Buffer.concat(chunks).equals(Buffer.alloc(size, letter))).toBe(true);
});
