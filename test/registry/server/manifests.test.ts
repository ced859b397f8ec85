import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  describeContent,
  hashOf,
  mediaType,
  pushBlob,
  pushManifest,
} from '../../support/distribution-client.ts';
import { startEmbedded, type TestRegistry } from '../../support/registries.ts';

let registry: TestRegistry;
beforeAll(async () => {
  registry = await startEmbedded();
});
afterAll(() => registry.close());

const repository = (name: string): string => `${registry.url}/v2/${name}`;

async function errorOf(response: Response): Promise<unknown> {
  const { errors } = (await response.json()) as { errors: { code: string }[] };
  return [response.status, errors[0]?.code];
}

async function putRaw(base: string, body: string, type: string = mediaType.manifest): Promise<Response> {
  return fetch(`${base}/manifests/latest`, { method: 'PUT', headers: { 'content-type': type }, body });
}

/** An image with one layer, its blobs pushed. */
async function image(base: string, layer: string, extra: object = {}): Promise<object> {
  await pushBlob(base, '{}');
  await pushBlob(base, layer);
  return {
    schemaVersion: 2,
    mediaType: mediaType.manifest,
    config: describeContent(mediaType.config, '{}'),
    layers: [describeContent(mediaType.layer, layer)],
    ...extra,
  };
}

describe('a manifest', () => {
  test('comes back byte by byte, by tag and by digest, with its media type', async () => {
    const base = repository('exact');
    const body = JSON.stringify(await image(base, 'a layer'), null, 3);
    expect((await putRaw(base, body)).status).toBe(201);
    for (const reference of ['latest', hashOf(body)]) {
      const response = await fetch(`${base}/manifests/${reference}`);
      expect(response.headers.get('content-type')).toBe(mediaType.manifest);
      expect(response.headers.get('docker-content-digest')).toBe(hashOf(body));
      expect(await response.text()).toBe(body);
    }
  });

  test('may be of docker schema 2', async () => {
    const base = repository('docker');
    const document = { ...(await image(base, 'a layer')), mediaType: mediaType.dockerManifest };
    await pushManifest(base, { reference: 'latest', type: mediaType.dockerManifest, document });
    const head = await fetch(`${base}/manifests/latest`, { method: 'HEAD' });
    expect(head.headers.get('content-type')).toBe(mediaType.dockerManifest);
  });

  test('is refused without the blobs that it names', async () => {
    const base = repository('hollow');
    const document = await image(base, 'here');
    const body = JSON.stringify({ ...document, layers: [describeContent(mediaType.layer, 'not here')] });
    expect(await errorOf(await putRaw(base, body))).toEqual([404, 'MANIFEST_BLOB_UNKNOWN']);
    expect((await fetch(`${base}/manifests/latest`)).status).toBe(404);
  });

  test('may name layers that are kept elsewhere', async () => {
    const base = repository('foreign');
    const foreign = { ...describeContent(mediaType.layer, 'not here'), urls: ['https://layers.example/1'] };
    const document = { ...(await image(base, 'here')), layers: [foreign] };
    await pushManifest(base, { reference: 'latest', type: mediaType.manifest, document });
    expect((await fetch(`${base}/manifests/latest`)).status).toBe(200);
  });

  test('is refused under a digest that is not its own', async () => {
    const base = repository('lie');
    const body = JSON.stringify(await image(base, 'a layer'));
    const put = await fetch(`${base}/manifests/${hashOf('another')}`, {
      method: 'PUT',
      headers: { 'content-type': mediaType.manifest },
      body,
    });
    expect(await errorOf(put)).toEqual([400, 'DIGEST_INVALID']);
  });

  test.each([
    ['no JSON', 'hello', mediaType.manifest],
    ['schema 1', '{"schemaVersion":1}', mediaType.manifest],
    ['an unknown media type', '{"schemaVersion":2}', 'text/plain'],
    [
      'two media types',
      `{"schemaVersion":2,"mediaType":"${mediaType.index}","manifests":[]}`,
      mediaType.dockerManifest,
    ],
    [
      'two media types of the same kind',
      `{"schemaVersion":2,"mediaType":"${mediaType.index}","manifests":[]}`,
      'application/vnd.docker.distribution.manifest.list.v2+json',
    ],
    ['an index without manifests', '{"schemaVersion":2}', mediaType.index],
    [
      'a negative size',
      `{"schemaVersion":2,"manifests":[{"mediaType":"a","digest":"${hashOf('')}","size":-1}]}`,
      mediaType.index,
    ],
    [
      'a digest that is a path',
      '{"schemaVersion":2,"manifests":[{"mediaType":"a","digest":"sha256:../../x","size":1}]}',
      mediaType.index,
    ],
  ])('is refused with %s', async (_title, body, type) => {
    expect(await errorOf(await putRaw(repository('invalid'), body, type))).toEqual([400, 'MANIFEST_INVALID']);
  });

  test('may have 4 MiB, as the specification asks, but not any size', async () => {
    const base = repository('large');
    const document = await image(base, 'a layer', { annotations: { text: 'x'.repeat(4 * 1024 * 1024) } });
    await pushManifest(base, { reference: 'latest', type: mediaType.manifest, document });
    const refused = await putRaw(base, ' '.repeat(20 * 1024 * 1024));
    expect(await errorOf(refused)).toEqual([413, 'SIZE_INVALID']);
    expect((await fetch(`${base}/manifests/latest`, { method: 'HEAD' })).status).toBe(200);
  });

  test('is deleted together with its tags; a tag is deleted alone', async () => {
    const base = repository('deleted');
    const document = await image(base, 'a layer');
    const digest = await pushManifest(base, { reference: 'one', type: mediaType.manifest, document });
    await pushManifest(base, { reference: 'two', type: mediaType.manifest, document });
    await fetch(`${base}/manifests/one`, { method: 'DELETE' });
    expect((await fetch(`${base}/manifests/two`)).status).toBe(200);
    expect((await fetch(`${base}/manifests/${digest}`, { method: 'DELETE' })).status).toBe(202);
    expect(await (await fetch(`${base}/tags/list`)).json()).toEqual({ name: 'deleted', tags: [] });
    expect((await fetch(`${base}/manifests/${digest}`)).status).toBe(404);
  });
});

describe('tags', () => {
  test('are listed in pages that follow one another', async () => {
    const base = repository('paged');
    const document = await image(base, 'a layer');
    for (const reference of ['v2', 'v10', 'latest', 'V1', 'v1']) {
      await pushManifest(base, { reference, type: mediaType.manifest, document });
    }
    const pages: unknown[] = [];
    let next: string | undefined = `${base}/tags/list?n=2`;
    while (next !== undefined) {
      const response: Response = await fetch(next);
      pages.push(((await response.json()) as { tags: string[] }).tags);
      const link = /^<(?<target>[^>]+)>; rel="next"$/.exec(response.headers.get('link') ?? '')?.groups?.[
        'target'
      ];
      next = link === undefined ? undefined : new URL(link, registry.url).href;
    }
    expect(pages).toEqual([['latest', 'V1'], ['v1', 'v10'], ['v2']]);
    expect(await (await fetch(`${base}/tags/list?n=0`)).json()).toEqual({ name: 'paged', tags: [] });
  });

  test('of a repository that does not exist are an error', async () => {
    expect(await errorOf(await fetch(`${repository('nowhere')}/tags/list`))).toEqual([404, 'NAME_UNKNOWN']);
  });
});

describe('referrers', () => {
  test('are listed with type and annotations, filtered, and gone when deleted', async () => {
    const base = repository('subject');
    const subjectBytes = JSON.stringify(await image(base, 'a layer'));
    const subject = describeContent(mediaType.manifest, subjectBytes);
    const signature = await image(base, 'signature', {
      artifactType: 'application/x.signature',
      annotations: { by: 'a test' },
      subject,
    });
    const statement = await image(base, 'statement', { subject });
    const put = await fetch(`${base}/manifests/${hashOf(JSON.stringify(signature))}`, {
      method: 'PUT',
      headers: { 'content-type': mediaType.manifest },
      body: JSON.stringify(signature),
    });
    expect([put.status, put.headers.get('oci-subject')]).toEqual([201, subject.digest]);
    await pushManifest(base, { type: mediaType.manifest, document: statement });

    const list = async (query = ''): Promise<unknown> => {
      const response = await fetch(`${base}/referrers/${subject.digest}${query}`);
      expect(response.headers.get('content-type')).toBe(mediaType.index);
      return [
        response.headers.get('oci-filters-applied'),
        ((await response.json()) as { manifests: unknown }).manifests,
      ];
    };
    const signatureEntry = {
      ...describeContent(mediaType.manifest, JSON.stringify(signature)),
      artifactType: 'application/x.signature',
      annotations: { by: 'a test' },
    };
    const statementEntry = {
      ...describeContent(mediaType.manifest, JSON.stringify(statement)),
      artifactType: mediaType.config,
    };
    expect(await list()).toEqual([null, expect.arrayContaining([signatureEntry, statementEntry])]);
    expect(await list('?artifactType=application/x.signature')).toEqual(['artifactType', [signatureEntry]]);
    await fetch(`${base}/manifests/${signatureEntry.digest}`, { method: 'DELETE' });
    expect(await list()).toEqual([null, [statementEntry]]);
  });

  test('of something that does not exist are an empty list', async () => {
    const response = await fetch(`${repository('subject')}/referrers/${hashOf('nothing')}`);
    expect(await response.json()).toEqual({ schemaVersion: 2, mediaType: mediaType.index, manifests: [] });
  });
});
