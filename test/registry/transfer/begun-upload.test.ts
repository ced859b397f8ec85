import { expect, test } from 'vitest';
import { whenAborted } from '../../../src/shared/abortable.ts';
import type { RemoteRepository } from '../../../src/registry/image/remote-repository.ts';
import type { BegunBlob, BlobOutcome } from '../../../src/registry/transfer/upload.ts';
import { rejection, startServer } from '../http/local-server.ts';
import { describeBlob, noise, openRemote, startExchange } from './transfer-server.ts';
import { type Behaviour, UploadServer } from './upload-server.ts';

const blob = noise(5_000_000);
const descriptor = describeBlob(blob);

/** Yields the blob in memory that is used again for each chunk. */
async function* open(): AsyncGenerator<Buffer> {
  const memory = Buffer.alloc(300_000);
  for (let at = 0; at < blob.length; at += memory.length) {
    yield memory.subarray(0, blob.copy(memory, 0, at, at + memory.length));
    memory.fill(0);
  }
}

/** Does something with a repository of a registry. */
async function withRegistry<Result>(
  behaviour: Behaviour,
  use: (repository: RemoteRepository) => Promise<Result>,
) {
  const registry = new UploadServer(behaviour);
  await using server = await startExchange(registry.answer);
  const repository = openRemote(server.host);
  try {
    const result = await use(repository);
    return { registry, server, result, bytesUp: repository.traffic.bytesUp };
  } finally {
    await repository.close();
  }
}

const uploadEarly = (repository: RemoteRepository): Promise<BlobOutcome> =>
  repository.putBlob(descriptor, open, { begun: repository.beginBlob(open) });

/** Begins an upload and returns once it is sent; its content ends as a function says. */
async function beginPart(
  repository: RemoteRepository,
  end: () => Promise<void>,
): Promise<BegunBlob | undefined> {
  const sent = Promise.withResolvers<void>();
  const begun = repository.beginBlob(async function* () {
    yield blob.subarray(0, 1000);
    sent.resolve();
    await end();
  });
  await sent.promise;
  return begun;
}

/** Answers all requests of a method. */
const answering =
  (method: string, status: number, headers: Readonly<Record<string, string>> = {}): Behaviour =>
  (exchange) => {
    if (exchange.method !== method) return false;
    exchange.response.writeHead(status, headers).end();
    return true;
  };

test('a blob is sent in one request without a length, and then stored', async () => {
  const { registry, server, result, bytesUp } = await withRegistry(() => {}, uploadEarly);
  expect(result).toBe('uploaded');
  expect(registry.stored?.equals(blob)).toBe(true);
  expect(registry.log.toSorted()).toEqual([
    `HEAD blobs/${descriptor.digest}`,
    'PATCH blobs/uploads/1',
    'POST blobs/uploads/',
    'PUT blobs/uploads/1',
  ]);
  const patch = server.seen.find(({ method }) => method === 'PATCH');
  expect(patch?.headers).toMatchObject({ 'transfer-encoding': 'chunked' });
  expect(server.seen.at(-1)).toMatchObject({
    path: expect.stringContaining(`offset=${blob.length}&digest=${descriptor.digest}`),
    headers: { 'content-length': '0' },
  });
  expect(bytesUp).toBe(blob.length);
});

test('a blob is sent before it is complete', async () => {
  const arrived = Promise.withResolvers<void>();
  await using server = await startServer((request, response) => {
    request.on('data', arrived.resolve).resume();
    if (request.method === 'POST') response.writeHead(202, { location: '/v2/vendor/driver/blobs/uploads/1' });
    else if (request.method === 'HEAD') response.writeHead(404);
    else response.writeHead(request.method === 'PATCH' ? 202 : 201);
    request.on('end', () => response.end());
  });
  const repository = openRemote(server.host);
  const begun = repository.beginBlob(async function* () {
    yield blob.subarray(0, 1000);
    await arrived.promise;
    yield blob.subarray(1000);
  });
  expect(await repository.putBlob(descriptor, open, { begun })).toBe('uploaded');
  await repository.close();
});

test('one of the two uploads that were opened beforehand is used, the other one is cancelled', async () => {
  const { registry } = await withRegistry(
    () => {},
    async (repository) => {
      await using _ = await repository.checkPush();
      return uploadEarly(repository);
    },
  );
  expect(registry.stored?.equals(blob)).toBe(true);
  expect(registry.log.filter((line) => line.startsWith('POST'))).toHaveLength(2);
  expect(registry.log.filter((line) => line.startsWith('DELETE'))).toHaveLength(1);
});

test.each<[string, Behaviour]>([
  ['needs a length', answering('PATCH', 411)],
  ['takes less', answering('PATCH', 413)],
  ['does not know the method', answering('PATCH', 405)],
  ['fails', answering('PATCH', 500)],
  ['goes on where nothing may be sent', answering('PATCH', 202, { location: 'ftp://storage.example/x' })],
  ['drops a part', answering('PATCH', 202, { range: '0-999' })],
  [
    'breaks off',
    ({ method, response }) => {
      if (method === 'PATCH') response.destroy();
      return method === 'PATCH';
    },
  ],
  [
    'does not store it',
    ({ method, body, response }) => {
      if (method !== 'PUT' || body.length > 0) return false;
      response.writeHead(400).end();
      return true;
    },
  ],
])('a registry that %s gets the blob whole, once it is complete', async (_, behaviour) => {
  const { registry, result } = await withRegistry(behaviour, uploadEarly);
  expect(result).toBe('uploaded');
  expect(registry.stored?.equals(blob)).toBe(true);
  expect(registry.log).toContain('DELETE blobs/uploads/1');
  expect(registry.log.at(-1)).toBe('PUT blobs/uploads/2');
});

test('a registry that refused once is not tried again', async () => {
  const { result } = await withRegistry(answering('PATCH', 411), async (repository) => {
    await uploadEarly(repository);
    return repository.beginBlob(open);
  });
  expect(result).toBeUndefined();
});

test('a blob that exists is not stored once more, and its upload is cancelled', async () => {
  const { registry, result } = await withRegistry(
    answering('HEAD', 200, { 'content-length': String(blob.length) }),
    uploadEarly,
  );
  expect(result).toBe('exists');
  expect(registry.stored).toBeUndefined();
  expect(registry.log.at(-1)).toMatch(/^DELETE /);
});

test('an upload whose content fails is cancelled', async () => {
  const { registry } = await withRegistry(
    () => {},
    async (repository) => {
      const begun = await beginPart(repository, () => Promise.reject(new Error('no space left')));
      await begun?.[Symbol.asyncDispose]();
    },
  );
  expect(registry.stored).toBeUndefined();
  expect(registry.log.at(-1)).toBe('DELETE blobs/uploads/1');
});

test('an upload is cancelled when whoever began it stops', async () => {
  const reason = new Error('interrupted');
  const abort = new AbortController();
  const { registry } = await withRegistry(
    () => {},
    async (repository) => {
      const begun = await beginPart(repository, () => whenAborted(abort.signal));
      abort.abort(reason);
      const storing = repository.putBlob(descriptor, open, { begun, signal: abort.signal });
      expect(await rejection(storing)).toBe(reason);
    },
  );
  expect(registry.stored).toBeUndefined();
  expect(registry.log.at(-1)).toBe('DELETE blobs/uploads/1');
});
