import { Readable } from 'node:stream';
import { describe, expect, test } from 'vitest';
import {
  uploadLocation,
  withDigest,
  type Endpoint,
  type RegistryConnection,
} from '../../../src/registry/transfer/endpoint.ts';
import type { BlobOutcome } from '../../../src/registry/transfer/upload.ts';
import { RegistryError } from '../../../src/registry/model/errors.ts';
import { openSession } from '../../../src/registry/transfer/upload-session.ts';
import { connect, type LocalServer, rejection, rememberingLogger } from '../http/local-server.ts';
import { describeBlob, noise, openRemote, startExchange } from './transfer-server.ts';
import { type Behaviour, UploadServer } from './upload-server.ts';

const blob = noise(9_000_000);
const descriptor = describeBlob(blob);
const MiB = 1024 * 1024;

/** Pieces of 100 kB, so that they do not fall on the borders of chunks. */
function* pieces(): Generator<Buffer> {
  for (let at = 0; at < blob.length; at += 100_000) yield blob.subarray(at, at + 100_000);
}

const open = (): Readable => Readable.from(pieces());

interface Upload {
  readonly registry: UploadServer;
  readonly server: LocalServer;
  readonly outcome: BlobOutcome | undefined;
  readonly error: unknown;
  readonly bytesUp: number;
}

/** The blob in memory that is used again for each chunk, as a temporary file is read. */
async function* inReusedMemory(): AsyncGenerator<Buffer> {
  const memory = Buffer.alloc(MiB);
  for (let at = 0; at < blob.length; at += MiB) {
    yield memory.subarray(0, blob.copy(memory, 0, at, at + MiB));
    memory.fill(0);
  }
}

async function upload(
  behaviour: Behaviour = () => {},
  content: () => AsyncIterable<Buffer> = open,
): Promise<Upload> {
  const registry = new UploadServer(behaviour);
  await using server = await startExchange(registry.answer);
  const repository = openRemote(server.host);
  let outcome: BlobOutcome | undefined;
  let error: unknown;
  try {
    outcome = await repository.putBlob(descriptor, content);
  } catch (reason) {
    error = reason;
  } finally {
    await repository.close();
  }
  return { registry, server, outcome, error, bytesUp: repository.traffic.bytesUp };
}

/** Refuses everything but chunks. */
const chunksOnly =
  (behaviour: Behaviour): Behaviour =>
  (exchange) => {
    const { method, response, body } = exchange;
    if (method !== 'PUT' || body.length === 0) return behaviour(exchange);
    response.writeHead(413).end();
    return true;
  };

const endpointOf = (connection: RegistryConnection): Endpoint => ({
  connection,
  repository: 'a',
  name: 'registry.example/a',
  retryDelay: 0,
  onRetry: () => {},
  onBytesDown: () => {},
  onBytesUp: () => {},
});

/** Where an upload goes on after an answer with this Location. */
const locate = (location: string | undefined, origin = 'https://registry.example'): string => {
  const endpoint = endpointOf({
    transport: () => Promise.reject(new Error('unused')),
    origin: () => origin,
    url: () => new URL(origin),
  });
  const url = new URL(`${origin}/v2/a/blobs/uploads/`);
  return uploadLocation({ status: 202, headers: { location }, url, body: Readable.from([]) }, endpoint).href;
};

describe('an upload', () => {
  test('is one PUT, to the Location with its query kept byte for byte', async () => {
    const { registry, server, outcome, bytesUp } = await upload();
    expect(outcome).toBe('uploaded');
    expect(registry.stored?.equals(blob)).toBe(true);
    expect(registry.log).toEqual([
      `HEAD blobs/${descriptor.digest}`,
      'POST blobs/uploads/',
      'PUT blobs/uploads/1',
    ]);
    const put = server.seen.at(-1);
    expect(put?.path).toBe(
      `/v2/vendor/driver/blobs/uploads/1?_state=a%2Fb%20~c&offset=0&digest=${descriptor.digest}`,
    );
    expect(put?.headers).toMatchObject({ 'content-length': String(blob.length) });
    expect(put?.headers).not.toHaveProperty('transfer-encoding');
    expect(bytesUp).toBe(blob.length);
  });

  test('is not made of what is there', async () => {
    const { registry, outcome, bytesUp } = await upload(({ method, response }) => {
      if (method === 'HEAD') response.writeHead(200, { 'content-length': blob.length }).end();
      return method === 'HEAD';
    });
    expect(outcome).toBe('exists');
    expect(registry.log).toHaveLength(1);
    expect(bytesUp).toBe(0);
  });

  test.each([413, 405, 416, 411])(
    'that is refused in one piece with %i is made in chunks of 4 MiB',
    async (status) => {
      const { registry, outcome } = await upload(({ method, response, body }) => {
        if (method !== 'PUT' || body.length === 0) return false;
        response.writeHead(status).end();
        return true;
      });
      expect(outcome).toBe('uploaded');
      expect(registry.stored?.equals(blob)).toBe(true);
      expect(registry.log.filter((line) => line.startsWith('PATCH'))).toEqual([
        `PATCH blobs/uploads/2 0-${4 * MiB - 1}`,
        `PATCH blobs/uploads/2 ${4 * MiB}-${8 * MiB - 1}`,
        `PATCH blobs/uploads/2 ${8 * MiB}-${blob.length - 1}`,
      ]);
      expect(registry.log).toContain('DELETE blobs/uploads/1');
    },
  );

  test.each<[string, Behaviour]>([
    ['one piece', () => {}],
    ['chunks', chunksOnly(() => {})],
  ])('in %s is done with a chunk of its source when it asks for the next', async (_, behaviour) => {
    const { registry, outcome } = await upload(behaviour, inReusedMemory);
    expect(outcome).toBe('uploaded');
    expect(registry.stored?.equals(blob)).toBe(true);
  });

  test('in chunks uses larger ones where the registry asks for them', async () => {
    const { registry } = await upload(
      chunksOnly(({ method, response }) => {
        if (method === 'POST') response.setHeader('OCI-Chunk-Min-Length', 6 * MiB);
      }),
    );
    expect(registry.stored?.equals(blob)).toBe(true);
    expect(registry.log.filter((line) => line.startsWith('PATCH')).map((line) => line.split(' ')[2])).toEqual(
      [`0-${6 * MiB - 1}`, `${6 * MiB}-${blob.length - 1}`],
    );
  });

  test.each([
    [undefined, 4 * MiB],
    [String(MiB), 4 * MiB],
    [String(64 * MiB), 64 * MiB],
    [String(64 * MiB + 1), 64 * MiB],
    ['-1', 4 * MiB],
    ['1e999', 4 * MiB],
    ['large', 4 * MiB],
  ])('whose registry asks for chunks of %s bytes gets chunks of %i', async (asked, chunkSize) => {
    await using server = await startExchange(({ response }) => {
      if (asked !== undefined) response.setHeader('OCI-Chunk-Min-Length', asked);
      response.writeHead(202, { location: '/v2/a/blobs/uploads/1' }).end();
    });
    await using connection = connect(server.host, { plainHttp: true });
    const endpoint = endpointOf({ ...connection, origin: () => server.url });
    expect(await openSession(endpoint, descriptor.digest, undefined)).toMatchObject({ chunkSize });
  });

  test('in chunks continues where the registry says it is', async () => {
    const { registry, outcome } = await upload(
      chunksOnly(({ method, response, body, count, registry: self }) => {
        if (method !== 'PATCH' || count !== 2) return false;
        // Half of the chunk arrives, then the connection breaks.
        self.append(body.subarray(0, MiB));
        response.destroy();
        return true;
      }),
    );
    expect(outcome).toBe('uploaded');
    expect(registry.stored?.equals(blob)).toBe(true);
    expect(registry.log).toContain('GET blobs/uploads/2');
  });

  test('in chunks is taken up again after 416', async () => {
    const { registry, outcome } = await upload(
      chunksOnly(({ method, response, count }) => {
        if (method !== 'PATCH' || count !== 2) return false;
        response.writeHead(416).end();
        return true;
      }),
    );
    expect(outcome).toBe('uploaded');
    expect(registry.stored?.equals(blob)).toBe(true);
  });

  test('in chunks fails when the registry drops one and reports success', async () => {
    const { registry, error } = await upload(
      chunksOnly(({ method, response, count }) => {
        if (method !== 'PATCH' || count === 1) return false;
        response
          .writeHead(202, { location: '/v2/vendor/driver/blobs/uploads/2', range: `0-${4 * MiB - 1}` })
          .end();
        return true;
      }),
    );
    expect(error).toMatchObject({
      code: 'UNEXPECTED_RESPONSE',
      message: expect.stringContaining(String(4 * MiB)),
    });
    expect(registry.stored).toBeUndefined();
    expect(registry.log.at(-1)).toBe('DELETE blobs/uploads/2');
  });

  test.each([
    ['more than was sent', 100 * MiB],
    ['less than before', 10],
  ])('in chunks fails at once when the registry says that it has %s', async (_, last) => {
    const { registry, error } = await upload(
      chunksOnly(({ method, response, count }) => {
        if (method !== 'PATCH' || count === 1) return false;
        response.writeHead(202, { location: '/v2/vendor/driver/blobs/uploads/2', range: `0-${last}` }).end();
        return true;
      }),
    );
    expect(error).toMatchObject({
      code: 'UNEXPECTED_RESPONSE',
      message: expect.stringContaining(String(last + 1)),
    });
    expect(registry.log.filter((line) => line.startsWith('PATCH'))).toHaveLength(2);
  });

  test('that breaks off starts over with the question whether the blob is there', async () => {
    const { registry, outcome } = await upload(({ method, response, count }) => {
      if (method !== 'PUT' || count !== 1) return false;
      response.destroy();
      return true;
    });
    expect(outcome).toBe('uploaded');
    expect(registry.log.map((line) => line.split(' ')[0])).toEqual([
      'HEAD',
      'POST',
      'PUT',
      'DELETE',
      'HEAD',
      'POST',
      'PUT',
    ]);
  });

  test.each([408, 429, 499, 500, 502, 503, 504, 522])('that gets %i once is sent again', async (status) => {
    const { registry, outcome } = await upload(({ method, response, count }) => {
      if (method !== 'PUT' || count !== 1) return false;
      response.writeHead(status).end();
      return true;
    });
    expect(outcome).toBe('uploaded');
    expect(registry.log.filter((line) => line.startsWith('PUT'))).toHaveLength(2);
  });

  test('whose answer got lost finds the blob there', async () => {
    const registry = new UploadServer(({ method, body, response, registry: self }) => {
      if (method !== 'PUT') return false;
      self.stored = body;
      response.destroy();
      return true;
    });
    await using running = await startExchange(registry.answer);
    const repository = openRemote(running.host);
    expect(await repository.putBlob(descriptor, open)).toBe('exists');
    await repository.close();
  });

  test('that is retried is logged, once as a warning', async () => {
    const registry = new UploadServer(({ method, count, response }) => {
      if (method !== 'PUT' || count > 2) return false;
      response.writeHead(503).end();
      return true;
    });
    await using server = await startExchange(registry.answer);
    const logger = rememberingLogger();
    const repository = openRemote(server.host, 'vendor/driver', logger);
    expect(await repository.putBlob(descriptor, open)).toBe('uploaded');
    await repository.close();
    expect(logger.lines).toMatchObject([
      {
        level: 'warn',
        message: 'Trying a transfer again',
        fields: { repository: repository.name, reason: 503 },
      },
      {
        level: 'debug',
        message: 'Trying a transfer again',
        fields: { repository: repository.name, reason: 503 },
      },
    ]);
  });

  test('that gets Retry-After waits that long before it is sent again', async () => {
    const registry = new UploadServer(({ method, count, response }) => {
      if (method !== 'PUT' || count !== 1) return false;
      response.writeHead(503, { 'retry-after': '1' }).end();
      return true;
    });
    await using server = await startExchange(registry.answer);
    const logger = rememberingLogger();
    const repository = openRemote(server.host, 'vendor/driver', logger);
    expect(await repository.putBlob(descriptor, open)).toBe('uploaded');
    await repository.close();
    expect(logger.lines).toMatchObject([{ level: 'warn', fields: { reason: 503, milliseconds: 1000 } }]);
  });

  test('that gets a longer Retry-After than the limit fails at once', async () => {
    const { registry, error } = await upload(({ method, response }) => {
      if (method !== 'PUT') return false;
      response.writeHead(429, { 'retry-after': '3600' }).end();
      return true;
    });
    expect(error).toMatchObject({ code: 'TOO_MANY_REQUESTS', facts: { retryAfterSeconds: 3600 } });
    expect(registry.log.filter((line) => line.startsWith('PUT'))).toHaveLength(1);
  });

  test.each([500, 503, 429])('that gets %i every time fails in the end', async (status) => {
    const { registry, error } = await upload(({ method, response }) => {
      if (method === 'PUT' || method === 'PATCH') response.writeHead(status).end();
      return method === 'PUT' || method === 'PATCH';
    });
    expect(error).toMatchObject({ facts: { status } });
    expect(registry.stored).toBeUndefined();
  });

  test.each([
    [401, 'UNAUTHORIZED'],
    [403, 'DENIED'],
  ])('that is not allowed (%i) fails at once', async (status, code) => {
    const { registry, error } = await upload(({ method, response }) => {
      if (method === 'POST') response.writeHead(status).end();
      return method === 'POST';
    });
    expect(error).toMatchObject({ code });
    expect(registry.log).toHaveLength(2);
  });

  test('that the registry stored under another digest fails', async () => {
    const { error } = await upload(({ method, response }) => {
      if (method === 'PUT')
        response.writeHead(201, { 'docker-content-digest': describeBlob(Buffer.from('other')).digest }).end();
      return method === 'PUT';
    });
    expect(error).toMatchObject({ code: 'DIGEST_MISMATCH' });
  });

  test('whose source fails is given up with the source’s own error', async () => {
    const broken = new Error('the disk is gone');
    const { registry, error } = await upload(undefined, () =>
      Readable.from(
        (function* () {
          yield blob.subarray(0, 1000);
          throw broken;
        })(),
      ),
    );
    expect(error).toBe(broken);
    expect(registry.stored).toBeUndefined();
  });

  test.each([
    ['too little', () => Readable.from([blob.subarray(1)])],
    ['too much', () => Readable.from([blob, blob])],
  ])('whose source gives %s stores nothing', async (_, content) => {
    const { registry, error } = await upload(undefined, content);
    expect(error).toMatchObject({ code: 'DIGEST_MISMATCH' });
    expect(registry.stored).toBeUndefined();
  });

  test('whose source breaks off is not begun again: the source has tried that itself', async () => {
    const broken = new RegistryError({ code: 'NETWORK', message: 'x', facts: { reason: 'ECONNRESET' } });
    let opened = 0;
    const { registry, error } = await upload(undefined, () => {
      opened += 1;
      return Readable.from(
        (async function* () {
          yield blob.subarray(0, 1000);
          throw broken;
        })(),
      );
    });
    expect([error, opened]).toEqual([broken, 1]);
    expect(registry.log.at(-1)).toMatch(/^DELETE /);
  });

  test('of a blob that is there in another size is made', async () => {
    const { outcome, registry } = await upload(({ method, response, count }) => {
      if (method !== 'HEAD' || count !== 1) return false;
      response.writeHead(200, { 'content-length': blob.length - 1 }).end();
      return true;
    });
    expect(outcome).toBe('uploaded');
    expect(registry.stored?.equals(blob)).toBe(true);
  });

  test('that is aborted cancels its session', async () => {
    const given = Promise.withResolvers<void>();
    const abort = new AbortController();
    const reason = new Error('interrupted');
    const registry = new UploadServer(({ method }) => {
      if (method === 'DELETE') given.resolve();
    });
    await using server = await startExchange(registry.answer);
    const repository = openRemote(server.host);
    const content = (): Readable =>
      new Readable({
        read() {
          abort.abort(reason);
        },
      });
    expect(await rejection(repository.putBlob(descriptor, content, { signal: abort.signal }))).toBe(reason);
    await given.promise;
    await repository.close();
  });
});

describe('an upload that goes to another host', () => {
  test('takes no password there', async () => {
    await using storage = await startExchange(({ response }) => response.writeHead(201).end());
    const registry = new UploadServer(({ method, request, response }) => {
      if (request.headers.authorization === undefined) {
        response.writeHead(401, { 'www-authenticate': 'Basic realm="r"' }).end();
        return true;
      }
      if (method === 'POST')
        response.writeHead(202, { location: `${storage.url}/put?signature=x%2Fy` }).end();
      return method === 'POST';
    });
    await using server = await startExchange(registry.answer);
    const repository = openRemote(server.host);
    expect(await repository.putBlob(descriptor, open)).toBe('uploaded');
    expect(server.seen.at(-1)?.authorization).toMatch(/^Basic /);
    expect(storage.seen).toMatchObject([
      { path: `/put?signature=x%2Fy&digest=${descriptor.digest}`, authorization: undefined },
    ]);
    await repository.close();
  });

  test.each([
    'http://storage.example/x',
    'https://169.254.169.254/x',
    'https://10.0.0.1/x',
    'https://[::1]/x',
    'https://127.1/x',
  ])('does not go to %s', (location) => {
    expect(() => locate(location)).toThrow(expect.objectContaining({ code: 'UNSAFE_REDIRECT' }));
  });

  test.each([undefined, 'ftp://storage.example/x', 'https://'])('does not go nowhere (%j)', (location) => {
    expect(() => locate(location)).toThrow(expect.objectContaining({ code: 'UNEXPECTED_RESPONSE' }));
  });

  test.each([
    ['http://registry.example/x?a=%7E', 'https://registry.example', 'https://registry.example/x?a=%7E'],
    ['http://registry.example:443/x', 'https://registry.example', 'https://registry.example/x'],
    ['http://registry.example:5000/x', 'https://registry.example:5000', 'https://registry.example:5000/x'],
    ['http://registry.example/x', 'http://registry.example', 'http://registry.example/x'],
  ])('keeps TLS where the registry names itself without it: %s of %s is %s', (location, origin, url) => {
    expect(locate(location, origin)).toBe(url);
  });

  test.each([
    ['http://registry.example:5001/x', 'https://registry.example:5000'],
    ['http://registry.example:5000/x', 'https://registry.example'],
    ['http://registry.example/x', 'https://registry.example:5000'],
    ['http://sub.registry.example/x', 'https://registry.example'],
  ])('does not take %s for %s', (location, origin) => {
    expect(() => locate(location, origin)).toThrow(expect.objectContaining({ code: 'UNSAFE_REDIRECT' }));
  });

  test('goes to another public host', () => {
    expect(locate('https://storage.example/x?a=%7E')).toBe('https://storage.example/x?a=%7E');
  });

  test('keeps the query in the form in which it came', () => {
    const digest = describeBlob(Buffer.alloc(0)).digest;
    expect(withDigest(new URL('https://a.example/u?x=~%20+%2F&&y'), digest).href).toBe(
      `https://a.example/u?x=~%20+%2F&&y&digest=${digest}`,
    );
    expect(withDigest(new URL('https://a.example/u'), digest).href).toBe(
      `https://a.example/u?digest=${digest}`,
    );
  });
});

describe('a blob from another repository', () => {
  const mount = async (
    behaviour: Behaviour,
  ): Promise<{ outcome: BlobOutcome; requests: string[]; stored: Buffer | undefined }> => {
    const registry = new UploadServer((exchange) => {
      const { method, url, response } = exchange;
      if (method === 'GET' && url.pathname.startsWith('/v2/other/')) {
        response.end(blob);
        return true;
      }
      return behaviour(exchange);
    });
    await using server = await startExchange(registry.answer);
    const [from, to] = [openRemote(server.host, 'other/place'), openRemote(server.host)];
    try {
      const outcome = await to.copyBlob(descriptor, from);
      const requests = server.seen.map(
        ({ method, path }) => `${method} ${path.replace('/v2/vendor/driver/blobs/', '')}`,
      );
      return { outcome, requests, stored: registry.stored };
    } finally {
      await from.close();
      await to.close();
    }
  };
  const asked = `POST uploads/?mount=${encodeURIComponent(descriptor.digest)}&from=other%2Fplace`;

  test('is linked', async () => {
    const { outcome, requests } = await mount(({ method, response }) => {
      if (method === 'POST') response.writeHead(201, { location: '/x' }).end();
      return method === 'POST';
    });
    expect(outcome).toBe('mounted');
    expect(requests).toEqual([asked]);
  });

  test('that is there, but cannot be linked, is not sent', async () => {
    const { outcome, requests } = await mount(({ method, response }) => {
      if (method === 'HEAD') response.writeHead(200, { 'content-length': blob.length }).end();
      return method === 'HEAD';
    });
    expect(outcome).toBe('exists');
    expect(requests).toEqual([
      asked,
      `HEAD ${descriptor.digest}`,
      expect.stringMatching(/^DELETE uploads\/1\b/),
    ]);
  });

  test('of another registry is not mounted', async () => {
    await using elsewhere = await startExchange(({ response }) => response.end(blob));
    const registry = new UploadServer(() => {});
    await using server = await startExchange(registry.answer);
    const [from, to] = [openRemote(elsewhere.host, 'other/place'), openRemote(server.host)];
    expect(await to.copyBlob(descriptor, from)).toBe('uploaded');
    expect(server.seen.filter(({ method }) => method === 'POST').map(({ path }) => path)).toEqual([
      '/v2/vendor/driver/blobs/uploads/',
    ]);
    await from.close();
    await to.close();
  });

  test('that is linked under another digest fails', async () => {
    const { digest } = describeBlob(Buffer.from('other'));
    const linking = mount(({ method, response }) => {
      if (method === 'POST') response.writeHead(201, { 'docker-content-digest': digest }).end();
      return method === 'POST';
    });
    expect(await rejection(linking)).toMatchObject({
      code: 'DIGEST_MISMATCH',
      message: expect.stringContaining(digest),
    });
  });

  test('is sent by the upload that the registry opens instead', async () => {
    const { outcome, requests, stored } = await mount(() => {});
    expect(outcome).toBe('uploaded');
    expect(stored?.equals(blob)).toBe(true);
    expect(requests.filter((line) => line.startsWith('POST'))).toEqual([asked]);
  });

  test('is mounted only once, also when the upload in its place breaks off', async () => {
    const { outcome, requests } = await mount(({ method, response, count }) => {
      if (method !== 'PUT' || count !== 1) return false;
      response.destroy();
      return true;
    });
    expect(outcome).toBe('uploaded');
    expect(requests.filter((line) => line.startsWith('POST'))).toEqual([asked, 'POST uploads/']);
  });

  test.each([400, 403, 404, 405, 500])(
    'is sent by an upload of its own when linking is refused with %i',
    async (status) => {
      const { outcome, requests, stored } = await mount(({ method, url, response }) => {
        if (method !== 'POST' || !url.searchParams.has('mount')) return false;
        response.writeHead(status).end();
        return true;
      });
      expect(outcome).toBe('uploaded');
      expect(stored?.equals(blob)).toBe(true);
      expect(requests.filter((line) => line.startsWith('POST'))).toEqual([asked, 'POST uploads/']);
    },
  );
});
