import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  describeContent,
  hashOf,
  mediaType,
  pushBlob,
  pushManifest,
} from '../../support/distribution-client.ts';
import { describeEachRegistry, startEmbedded, type TestRegistry } from '../../support/registries.ts';

const image = {
  schemaVersion: 2,
  mediaType: mediaType.manifest,
  config: describeContent(mediaType.config, '{}'),
  layers: [],
};
const manifestBytes = JSON.stringify(image);

async function putManifest(base: string, type: string, document: unknown): Promise<[number, string]> {
  const response = await fetch(`${base}/manifests/1.0`, {
    method: 'PUT',
    headers: { 'content-type': type },
    body: JSON.stringify(document),
  });
  const code = /"code":"(\w+)"/.exec(await response.text())?.[1] ?? '';
  return [response.status, code];
}

/** What BuildKit writes as its cache. */
const cacheIndex = (content: string) => ({
  schemaVersion: 2,
  mediaType: mediaType.index,
  manifests: [
    describeContent(mediaType.layer, content),
    describeContent('application/vnd.buildkit.cacheconfig.v0', '{"layers":[]}'),
  ],
});

const longer = <T extends { size: number }>(descriptor: T): T => ({
  ...descriptor,
  size: descriptor.size + 1,
});

/** In the order in which distribution lists them: a name, those below it, those that go on after it. */
const names = ['a', 'a/b', 'a/b/c', 'a/c', 'a-b', 'a.b/c', 'ab', 'b/c'];

describeEachRegistry(
  'the catalog',
  (start) => {
    let registry: TestRegistry;
    beforeAll(async () => {
      registry = await start();
      for (const name of names.toReversed()) {
        await pushBlob(`${registry.url}/v2/${name}`, '{}');
        await pushManifest(`${registry.url}/v2/${name}`, { type: mediaType.manifest, document: image });
      }
      await pushBlob(`${registry.url}/v2/blobs/only`, '{}');
    });
    afterAll(() => registry.close());

    async function list(query: string): Promise<unknown> {
      const response = await fetch(`${registry.url}/v2/_catalog${query}`);
      const body: unknown = await response.json();
      return [response.status, body, response.headers.get('link')];
    }

    test('lists repositories that have a manifest', async () => {
      expect(await list('')).toEqual([200, { repositories: names }, null]);
      expect(await list('?n=1000')).toEqual([200, { repositories: names }, null]);
      expect(await list('?n=0')).toEqual([200, { repositories: [] }, null]);
    });

    test('continues after any name', async () => {
      for (const [at, last] of names.entries()) {
        expect(await list(`?last=${encodeURIComponent(last)}`)).toEqual([
          200,
          { repositories: names.slice(at + 1) },
          null,
        ]);
      }
    });

    test('returns a link while there are more', async () => {
      const pages: unknown[] = [];
      let path: string | undefined = '/v2/_catalog?n=3';
      while (path !== undefined) {
        const response: Response = await fetch(`${registry.url}${path}`);
        pages.push(((await response.json()) as { repositories: unknown }).repositories);
        path = /^<([^>]+)>; rel="next"$/.exec(response.headers.get('link') ?? '')?.[1];
      }
      expect(pages).toEqual([names.slice(0, 3), names.slice(3, 6), names.slice(6)]);
    });

    test.each(['-1', 'x', '1001'])('refuses n=%s', async (n) => {
      expect(await list(`?n=${n}`)).toMatchObject([
        400,
        { errors: [{ code: 'PAGINATION_NUMBER_INVALID' }] },
        null,
      ]);
    });
  },
  // Debian's version 2.8 lists repositories without a manifest too, and takes any n.
  ['distribution', 'embedded'],
);

describeEachRegistry(
  'an index that lists blobs',
  (start) => {
    test("is taken in, as BuildKit's cache needs it, when the blobs are there", async () => {
      await using registry = await start();
      const base = `${registry.url}/v2/cache`;
      await pushBlob(base, 'a layer');
      expect(await putManifest(base, mediaType.index, cacheIndex('a layer'))).toEqual([
        registry.kind === 'embedded' ? 404 : 400,
        'MANIFEST_BLOB_UNKNOWN',
      ]);
      await pushBlob(base, '{"layers":[]}');
      expect(await putManifest(base, mediaType.index, cacheIndex('a layer'))).toEqual([201, '']);
      expect((await putManifest(base, mediaType.index, cacheIndex('none')))[1]).toBe('MANIFEST_BLOB_UNKNOWN');
      const read = await fetch(`${base}/manifests/1.0`, { headers: { accept: mediaType.index } });
      expect(await read.json()).toEqual(cacheIndex('a layer'));
    });
  },
  // Version 3 of distribution asks for manifests here, so BuildKit cannot keep its cache there.
  ['docker-registry', 'embedded'],
);

test('a descriptor with a wrong size is refused, wherever it is', async () => {
  await using registry = await startEmbedded();
  const base = `${registry.url}/v2/sizes`;
  await pushBlob(base, '{}');
  await pushBlob(base, 'a layer');
  await pushManifest(base, { type: mediaType.manifest, document: image });
  const layer = describeContent(mediaType.layer, 'a layer');
  const manifest = describeContent(mediaType.manifest, manifestBytes);
  const urls = ['https://example.com/layer'];
  const index = { schemaVersion: 2, mediaType: mediaType.index };
  const absent = { mediaType: mediaType.layer, digest: hashOf('elsewhere'), size: 1 };
  const wrong: [string, unknown][] = [
    [mediaType.manifest, { ...image, config: longer(image.config) }],
    [mediaType.manifest, { ...image, layers: [layer, longer(layer)] }],
    [mediaType.manifest, { ...image, layers: [{ ...longer(layer), urls }] }],
    [mediaType.manifest, { ...image, subject: longer(manifest) }],
    [mediaType.index, { ...index, manifests: [longer(manifest)] }],
    [mediaType.index, { ...index, manifests: [longer(layer)] }],
  ];
  for (const [type, document] of wrong) {
    expect(await putManifest(base, type, document)).toEqual([400, 'SIZE_INVALID']);
  }
  expect((await fetch(`${base}/manifests/1.0`)).status).toBe(404);
  const right: [string, unknown][] = [
    [mediaType.manifest, { ...image, layers: [layer, { ...layer, urls }, { ...absent, urls }] }],
    [mediaType.manifest, { ...image, subject: manifest }],
    [mediaType.manifest, { ...image, subject: { ...absent, mediaType: mediaType.manifest } }],
    [mediaType.index, { ...index, manifests: [manifest, layer] }],
  ];
  for (const [type, document] of right) expect(await putManifest(base, type, document)).toEqual([201, '']);
});
