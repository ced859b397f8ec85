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
