import { expect, test } from 'vitest';
import { ociMediaTypes } from '../../../src/registry/model/media-types.ts';
import { describeBlob, openRemote, startExchange } from './transfer-server.ts';

test('a manifest is read when the registry states another digest for it', async () => {
  const bytes = Buffer.from(
    JSON.stringify({ schemaVersion: 2, mediaType: ociMediaTypes.index, manifests: [] }),
  );
  const { digest, size } = describeBlob(bytes);
  const other = describeBlob(Buffer.from('other')).digest;
  await using server = await startExchange(({ method, response }) => {
    const headers = { 'content-type': ociMediaTypes.index, 'content-length': size };
    response.writeHead(200, { ...headers, 'docker-content-digest': other });
    response.end(method === 'HEAD' ? undefined : bytes);
  });
  const repository = openRemote(server.host);
  expect(await repository.resolve({ digest })).toEqual({ mediaType: ociMediaTypes.index, digest, size });
  await repository.close();
});

/** Pushes a manifest to a registry that refuses it so many times with a code; returns the number of requests, and the error. */
async function pushRefused(times: number, code: string) {
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: ociMediaTypes.manifest }));
  const { digest } = describeBlob(bytes);
  let pushes = 0;
  await using server = await startExchange(({ method, response }) => {
    if (method !== 'PUT') {
      response.writeHead(404).end();
      return;
    }
    pushes += 1;
    if (pushes > times) response.writeHead(201).end();
    else response.writeHead(400).end(JSON.stringify({ errors: [{ code: 'DIGEST_INVALID' }, { code }] }));
  });
  const repository = openRemote(server.host);
  const error: unknown = await repository
    .putManifest({ mediaType: ociMediaTypes.manifest, digest, bytes }, { tag: '1.0' })
    .catch((reason: unknown) => reason);
  await repository.close();
  return { pushes, error };
}

test.each(['MANIFEST_BLOB_UNKNOWN', 'BLOB_UNKNOWN'])(
  'a manifest is pushed again when the registry does not find its blobs (%s)',
  async (code) => {
    expect(await pushRefused(2, code)).toEqual({ pushes: 3, error: undefined });
  },
);

test('a manifest whose blobs are not found for long is given up', async () => {
  const { pushes, error } = await pushRefused(Infinity, 'MANIFEST_BLOB_UNKNOWN');
  expect(pushes).toBe(5);
  expect(error).toMatchObject({
    code: 'UNEXPECTED_RESPONSE',
    facts: { status: 400, registryCodes: ['DIGEST_INVALID', 'MANIFEST_BLOB_UNKNOWN'] },
  });
});

test('a manifest that is refused for another reason is pushed once', async () => {
  expect(await pushRefused(1, 'MANIFEST_INVALID')).toMatchObject({
    pushes: 1,
    error: { facts: { status: 400 } },
  });
});
