import { execFile } from 'node:child_process';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { RegistryError } from '../../../src/registry/model/errors.ts';
import { RegistryClient } from '../../../src/registry/image/client.ts';
import { anonymousKeychain } from '../../../src/registry/credentials/keychain.ts';
import { digestOf } from '../../../src/registry/model/digest.ts';
import type { ImageRepository } from '../../../src/registry/image/repository.ts';
import { ociMediaTypes } from '../../../src/registry/model/media-types.ts';
import { storeImage, storeManifest, withParents } from '../../support/images.ts';
import { findProgram } from '../../support/programs.ts';
import { describeEachRegistry, registryTraits, type TestRegistry } from '../../support/registries.ts';
import { describeBlob, noise, openRemote, startExchange } from '../transfer/transfer-server.ts';

const run = promisify(execFile);
const image = (name: string) => ({ layers: [{ entries: withParents(`opt/${name}`, name) }] });
const blob = noise(3_000_000);
const descriptor = describeBlob(blob);
const open = (): Readable => Readable.from([blob]);
const absent = digestOf('absent');

/** Asks a server that gives one sort of answer; tells the result, or the error, and what was requested. */
const ask = async (
  answer: Parameters<typeof startExchange>[0],
  question: (repository: ImageRepository) => Promise<unknown>,
): Promise<{ result: unknown; requests: string[] }> => {
  await using server = await startExchange(answer);
  const repository = openRemote(server.host);
  try {
    const result = await question(repository).catch((error: unknown) => error);
    return {
      result,
      requests: server.seen.map(({ method, path }) => `${method} ${path.replace('/v2/vendor/driver/', '')}`),
    };
  } finally {
    await repository.close();
  }
};
const resolve = (repository: ImageRepository) => repository.resolve({ tag: '1' });
const tags = (repository: ImageRepository) => repository.listTags();

describeEachRegistry('a repository', (start, kind) => {
  let registry: TestRegistry;
  let client: RegistryClient;
  let repository: ImageRepository;
  let count = 0;
  const another = (): ImageRepository =>
    client.repository({ registry: registry.host, repository: `vendor/r${(count += 1)}` });

  beforeAll(async () => {
    registry = await start();
    client = new RegistryClient({
      plainHttp: true,
      keychain: anonymousKeychain,
      retryDelay: 1,
      environment: {},
    });
    repository = another();
  });

  afterAll(async () => {
    await client.close();
    await registry.close();
  });

  test('stores a blob once, and returns it', async () => {
    expect(await repository.hasBlob(descriptor)).toBe(false);
    expect(await repository.putBlob(descriptor, open)).toBe('uploaded');
    expect(await repository.putBlob(descriptor, open)).toBe('exists');
    expect(await repository.hasBlob(descriptor)).toBe(true);
    expect(blob.equals(await buffer(await repository.openBlob(descriptor)))).toBe(true);
    expect(repository.traffic).toEqual({ bytesDown: blob.length, bytesUp: blob.length });
  });

  test('stores a blob that is sent while it is being made', async () => {
    const place = another();
    const made = noise(3_000_000, 'made');
    const halves = async function* (): AsyncGenerator<Buffer> {
      yield made.subarray(0, 1_000_000);
      yield made.subarray(1_000_000);
    };
    const described = describeBlob(made);
    const begun = place.beginBlob?.(halves);
    expect(begun).toBeDefined();
    expect(await place.putBlob(described, halves, { begun })).toBe('uploaded');
    expect(made.equals(await buffer(await place.openBlob(described)))).toBe(true);
    // Sent once: no registry refuses it.
    expect(place.traffic.bytesUp).toBe(made.length);
  });

  test('gets a blob from its neighbour without its bytes', async () => {
    const [from, to] = [another(), another()];
    await from.putBlob(descriptor, open);
    expect(from.storage).toBe(to.storage);
    expect(await to.copyBlob(descriptor, from)).toBe('mounted');
    expect(to.traffic.bytesUp + from.traffic.bytesDown).toBe(0);
    expect(blob.equals(await buffer(await to.openBlob(descriptor)))).toBe(true);
  });

  test('says that a blob is missing', async () => {
    const missing = { ...descriptor, digest: absent };
    expect(await repository.hasBlob(missing)).toBe(false);
    await expect(repository.openBlob(missing)).rejects.toMatchObject({ code: 'BLOB_NOT_FOUND' });
  });

  test('stores an image under a tag, which moves to another', async () => {
    const place = another();
    const first = await storeImage(place, image('a'), '1.0');
    expect(await place.resolve({ tag: '1.0' })).toEqual({
      mediaType: ociMediaTypes.manifest,
      digest: first.digest,
      size: first.bytes.length,
    });
    const second = await storeImage(place, image('b'), '1.0');
    expect((await place.getManifest({ tag: '1.0' })).raw).toEqual(second);
  });

  test('stores a manifest that is there already once more', async () => {
    const place = another();
    const raw = await storeImage(place, image('a'), '1.0');
    await place.putManifest(raw, { tag: '1.0' });
    await place.putManifest(raw);
    expect((await place.getManifest({ tag: '1.0' })).raw).toEqual(raw);
  });

  test('stores an index with its children', async () => {
    const place = another();
    const child = await storeImage(place, image('a'));
    const manifests = [
      {
        mediaType: child.mediaType,
        digest: child.digest,
        size: child.bytes.length,
        platform: { os: 'linux', architecture: 'arm64' },
      },
    ];
    const json = { schemaVersion: 2, mediaType: ociMediaTypes.index, manifests };
    const index = await storeManifest(place, ociMediaTypes.index, json, 'multi');
    expect(await place.resolve({ tag: 'multi' })).toMatchObject({
      mediaType: ociMediaTypes.index,
      digest: index.digest,
    });
    expect(await place.getManifest({ tag: 'multi' })).toMatchObject({ kind: 'index', manifests });
  });

  test('stores docker schema 2, where the registry takes it', async () => {
    const stored = storeImage(repository, { ...image('a'), family: 'docker' }, 'docker').then(
      async (raw) => (await repository.getManifest({ tag: 'docker' })).raw.digest === raw.digest,
      (error: unknown) => error instanceof RegistryError && error.code,
    );
    expect(await stored).toBe(registryTraits[kind].docker ? true : 'UNEXPECTED_RESPONSE');
  });

  test('says that tags, digests and repositories do not exist', async () => {
    await storeImage(repository, image('a'), 'there');
    await expect(repository.resolve({ tag: 'absent' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(repository.getManifest({ tag: 'absent' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(repository.getManifest({ digest: absent })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(another().resolve({ tag: '1.0' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  test('lists its tags', async () => {
    const place = another();
    const raw = await storeImage(place, image('a'));
    const names = Array.from({ length: 12 }, (_, at) => `t${at}`);
    for (const tag of names) await place.putManifest(raw, { tag });
    expect((await place.listTags()).toSorted()).toEqual(names.toSorted());
  });

  test('deletes a manifest', async () => {
    const place = another();
    const raw = await storeImage(place, image('a'), '1.0');
    await place.deleteManifest(raw.digest);
    await expect(place.resolve({ tag: '1.0' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(place.deleteManifest(raw.digest)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  const skopeo = findProgram('skopeo');
  test.skipIf(skopeo === undefined)('has images that skopeo reads', async () => {
    const raw = await storeImage(repository, image('a'), 'skopeo');
    const name = repository.name;
    const { stdout } = await run(skopeo ?? '', [
      'inspect',
      '--tls-verify=false',
      '--format',
      '{{.Digest}}',
      `docker://${name}:skopeo`,
    ]);
    expect(stdout.trim()).toBe(raw.digest);
  });
});

describe('a registry that answers in its own way', () => {
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: ociMediaTypes.manifest,
      config: { mediaType: ociMediaTypes.config, digest: absent, size: 2 },
      layers: [],
    }),
  );
  const digest = digestOf(manifest);
  const type = { 'content-type': ociMediaTypes.manifest };

  test('without a digest on HEAD is read by GET, and the digest is computed', async () => {
    const { result, requests } = await ask(
      ({ response }) => response.writeHead(200, type).end(manifest),
      resolve,
    );
    expect(result).toEqual({ mediaType: ociMediaTypes.manifest, digest, size: manifest.length });
    expect(requests).toEqual(['HEAD manifests/1', 'GET manifests/1']);
  });

  test('without HEAD is read by GET', async () => {
    const { result } = await ask(
      ({ method, response }) =>
        method === 'HEAD' ? response.writeHead(405).end() : response.writeHead(200, type).end(manifest),
      resolve,
    );
    expect(result).toMatchObject({ digest });
  });

  test('with digest and length on HEAD is requested once', async () => {
    const headers = { ...type, 'docker-content-digest': digest, 'content-length': manifest.length };
    const { result, requests } = await ask(({ response }) => response.writeHead(200, headers).end(), resolve);
    expect(result).toMatchObject({ digest, size: manifest.length });
    expect(requests).toHaveLength(1);
  });

  test.each([
    [401, 'UNAUTHORIZED'],
    [403, 'DENIED'],
    [404, 'NOT_FOUND'],
    [429, 'TOO_MANY_REQUESTS'],
    [500, 'UNEXPECTED_RESPONSE'],
    [302, 'UNEXPECTED_RESPONSE'],
    [204, 'UNEXPECTED_RESPONSE'],
  ])('with %i says %s: only "not found" means that it does not exist', async (status, code) => {
    const { result } = await ask(({ response }) => response.writeHead(status).end(), resolve);
    expect(result).toMatchObject({ code });
  });

  test('that returns another manifest for a digest is refused', async () => {
    const { result } = await ask(
      ({ response }) => response.writeHead(200, { ...type, 'docker-content-digest': absent }).end(manifest),
      (repository) => repository.getManifest({ digest: absent }),
    );
    expect(result).toMatchObject({ code: 'DIGEST_MISMATCH' });
  });

  test.each([
    ['garbage', 'not JSON', 'INVALID_MANIFEST'],
    ['a page of HTML', '<html>', 'INVALID_MANIFEST'],
    ['an endless manifest', Buffer.alloc(9 * 1024 * 1024, ' '), 'LIMIT_EXCEEDED'],
  ])('with %s for a manifest is refused', async (_, body, code) => {
    const { result } = await ask(
      ({ response }) => response.writeHead(200, type).end(body),
      (repository) => repository.getManifest({ tag: '1' }),
    );
    expect(result).toMatchObject({ code });
  });

  test('that stores a manifest under another digest is reported', async () => {
    const { result } = await ask(
      ({ method, response }) =>
        response.writeHead(method === 'PUT' ? 201 : 404, { 'docker-content-digest': absent }).end(),
      (repository) =>
        repository.putManifest({ mediaType: ociMediaTypes.manifest, digest, bytes: manifest }, { tag: '1' }),
    );
    expect(result).toMatchObject({ code: 'DIGEST_MISMATCH' });
  });

  test.each([
    [400, { code: 'TAG_INVALID', message: 'the tag is immutable' }],
    [400, { code: 'DENIED', message: 'The tag 1 already exists' }],
    [409, { code: 'TAG_ALREADY_EXISTS', message: '' }],
    [412, { code: 'PRECONDITION', message: 'tag 1 is immutable' }],
  ])(
    'with %i for a tag that must not move names it, and is asked what the tag names',
    async (status, error) => {
      const { result, requests } = await ask(
        ({ method, response }) =>
          method === 'PUT'
            ? response.writeHead(status).end(JSON.stringify({ errors: [error] }))
            : response
                .writeHead(200, {
                  ...type,
                  'docker-content-digest': absent,
                  'content-length': manifest.length,
                })
                .end(),
        (repository) =>
          repository.putManifest(
            { mediaType: ociMediaTypes.manifest, digest, bytes: manifest },
            { tag: '1' },
          ),
      );
      expect(result).toMatchObject({
        code: 'IMMUTABLE_TAG',
        message: expect.stringMatching(
          /vendor\/driver:1: .* responded with .*the tag exists with different content/,
        ),
        facts: { tag: '1', status },
      });
      expect(requests).toEqual(['PUT manifests/1', 'HEAD manifests/1']);
    },
  );

  test.each([400, 403, 409, 412])(
    'with %i for a tag that names the manifest already has what was wanted',
    async (status) => {
      const there = { ...type, 'docker-content-digest': digest, 'content-length': manifest.length };
      const { result, requests } = await ask(
        ({ method, response }) => response.writeHead(method === 'PUT' ? status : 200, there).end(),
        (repository) =>
          repository.putManifest(
            { mediaType: ociMediaTypes.manifest, digest, bytes: manifest },
            { tag: '1' },
          ),
      );
      expect(result).toBeUndefined();
      expect(requests).toEqual(['PUT manifests/1', 'HEAD manifests/1']);
    },
  );

  test.each([
    ['where nothing has the tag', 404, 409, 'CONFLICT'],
    ['for a manifest that is not well formed', 200, 400, 'MANIFEST_INVALID'],
  ])('with a refusal %s does not call the tag immutable', async (_, head, status, code) => {
    const { result } = await ask(
      ({ method, response }) =>
        method === 'PUT'
          ? response.writeHead(status).end(JSON.stringify({ errors: [{ code, message: 'no' }] }))
          : response
              .writeHead(head, {
                ...type,
                'docker-content-digest': absent,
                'content-length': manifest.length,
              })
              .end(),
      (repository) =>
        repository.putManifest({ mediaType: ociMediaTypes.manifest, digest, bytes: manifest }, { tag: '1' }),
    );
    expect(result).toMatchObject({ code: 'UNEXPECTED_RESPONSE', facts: { registryCodes: [code] } });
  });

  test.each<[string, (repository: ImageRepository) => Promise<unknown>]>([
    ['a manifest', (repository) => repository.getManifest({ tag: '1' })],
    ['a tag', resolve],
    ['the tags', tags],
    ['a blob', (repository) => repository.openBlob(descriptor)],
    ['an upload', (repository) => repository.putBlob(descriptor, open)],
  ])('with a login page for %s is named by the type of the page', async (_, question) => {
    const page = { 'content-type': 'text/html; charset=utf-8' };
    const { result } = await ask(
      ({ response }) => response.writeHead(200, page).end('<html>Log in</html>'),
      question,
    );
    expect(result).toMatchObject({
      code: 'UNEXPECTED_RESPONSE',
      message: expect.stringContaining('responded with 200 and a page (text/html; charset=utf-8)'),
      hint: expect.stringContaining('login page'),
    });
  });

  test('gets a manifest in exactly our bytes under its media type', async () => {
    const received: { body: Buffer; type: string | undefined; path: string }[] = [];
    const { result } = await ask(
      ({ method, request, response, body, url }) => {
        if (method === 'PUT')
          received.push({ body, type: request.headers['content-type'], path: url.pathname });
        response.writeHead(method === 'PUT' ? 201 : 404).end();
      },
      (repository) =>
        repository.putManifest({ mediaType: ociMediaTypes.manifest, digest, bytes: manifest }, { tag: '1' }),
    );
    expect(result).toBeUndefined();
    expect(received).toEqual([
      { body: manifest, type: ociMediaTypes.manifest, path: '/v2/vendor/driver/manifests/1' },
    ]);
  });

  test('lists tags over several pages, also when the last links on to itself', async () => {
    const { result, requests } = await ask(({ url, response }) => {
      const last = url.searchParams.get('last');
      const page = last === null ? ['a', 'b'] : ['c'];
      response.setHeader('link', `</v2/vendor/driver/tags/list?n=2&last=${page.at(-1)}>; rel="next"`);
      response.end(JSON.stringify({ name: 'x', tags: page }));
    }, tags);
    expect(result).toEqual(['a', 'b', 'c']);
    expect(requests).toHaveLength(3);
  });

  test('lists no tags as null', async () => {
    const { result } = await ask(({ response }) => response.end('{"name":"x","tags":null}'), tags);
    expect(result).toEqual([]);
  });

  test('finds out whether it may be written to by uploads that are cancelled', async () => {
    const { result, requests } = await ask(
      ({ method, response }) =>
        method === 'POST'
          ? response.writeHead(202, { location: '/v2/vendor/driver/blobs/uploads/1?state=x' }).end()
          : response.writeHead(204).end(),
      async (repository) => {
        await using _ = await repository.checkPush?.();
      },
    );
    expect(result).toBeUndefined();
    const [opened, cancelled] = ['POST blobs/uploads/', 'DELETE blobs/uploads/1?state=x'];
    expect(requests[0]).toBe(opened);
    expect(requests.toSorted()).toEqual([cancelled, cancelled, opened, opened]);
  });

  test('does not lead to another host for more tags', async () => {
    const { result } = await ask(({ response }) => {
      response.setHeader('link', '<https://elsewhere.example/v2/>; rel="next"');
      response.end('{"tags":["a"]}');
    }, tags);
    expect(result).toMatchObject({ code: 'UNSAFE_REDIRECT' });
  });

  test.each(['[]', '{"tags":[1]}', '{', ''])('that lists tags as %j is not understood', async (body) => {
    const { result } = await ask(({ response }) => response.end(body), tags);
    expect(result).toMatchObject({ code: 'UNEXPECTED_RESPONSE' });
  });

  test('that forbids deletion is an error that explains it', async () => {
    const { result } = await ask(
      ({ response }) => response.writeHead(405).end('{"errors":[{"code":"UNSUPPORTED","message":"off"}]}'),
      (repository) => repository.deleteManifest(digest),
    );
    expect(result).toMatchObject({ code: 'UNEXPECTED_RESPONSE', facts: { status: 405 } });
  });
});
