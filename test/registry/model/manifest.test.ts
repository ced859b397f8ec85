import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { RegistryError } from '../../../src/registry/model/errors.ts';
import { parseJsonObject, serializeJson } from '../../../src/registry/model/json.ts';
import { createRawManifest, parseManifest } from '../../../src/registry/model/parse-manifest.ts';

const oci = 'application/vnd.oci.image.manifest.v1+json';
const ociIndex = 'application/vnd.oci.image.index.v1+json';
const docker = 'application/vnd.docker.distribution.manifest.v2+json';
const dockerList = 'application/vnd.docker.distribution.manifest.list.v2+json';
const digest = `sha256:${'ab'.repeat(32)}`;
const config = { mediaType: 'application/vnd.oci.image.config.v1+json', digest, size: 7 };
const layer = { mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', digest, size: 9 };
const image = { schemaVersion: 2, config, layers: [layer] };
const child = {
  mediaType: oci,
  digest,
  size: 5,
  platform: { os: 'linux', architecture: 'arm64', variant: 'v8' },
};
const index = { schemaVersion: 2, manifests: [child] };

const parseText = (text: string, mediaType = '') =>
  parseManifest(createRawManifest(mediaType, Buffer.from(text)));
const parse = (document: unknown, mediaType = '') => parseText(JSON.stringify(document), mediaType);

function codeOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof RegistryError) return error.code;
    throw error;
  }
  return 'accepted';
}

describe('the media type of a manifest', () => {
  test.each([
    ['an OCI manifest that states nothing', image, '', oci, 'oci'],
    ['an index that states nothing', index, '', ociIndex, 'oci'],
    [
      'a docker image that states nothing',
      { ...image, config: { ...config, mediaType: 'application/vnd.docker.container.image.v1+json' } },
      '',
      docker,
      'docker',
    ],
    ['one that only the header states', image, `${docker}; charset=utf-8`, docker, 'docker'],
    [
      'one that only the body states',
      { ...index, mediaType: dockerList },
      'application/json',
      dockerList,
      'docker',
    ],
    ['one that both state', { ...image, mediaType: oci }, oci, oci, 'oci'],
  ])('is told for %s', (_, document, served, mediaType, family) => {
    const manifest = parse(document, served);
    expect(manifest.raw.mediaType).toBe(mediaType);
    expect(manifest.family).toBe(family);
  });

  test('that header and body state differently is refused', () => {
    expect(codeOf(() => parse({ ...image, mediaType: docker }, oci))).toBe('INVALID_MANIFEST');
  });

  test.each([
    [
      'the header',
      '{"schemaVersion":1,"fsLayers":[]}',
      'application/vnd.docker.distribution.manifest.v1+prettyjws',
    ],
    ['the body', '{"schemaVersion":1,"name":"a/b","fsLayers":[],"history":[]}', 'application/json'],
  ])('is unsupported when %s says schema 1, with advice', (_, text, served) => {
    expect(codeOf(() => parseText(text, served))).toBe('UNSUPPORTED_MEDIA_TYPE');
    expect(() => parseText(text, served)).toThrow(
      expect.objectContaining({ hint: expect.stringContaining('push it again') }),
    );
  });

  test('of something else is unsupported', () => {
    expect(
      codeOf(() => parse({ ...image, mediaType: 'application/vnd.oci.artifact.manifest.v1+json' })),
    ).toBe('UNSUPPORTED_MEDIA_TYPE');
    expect(codeOf(() => parse(image, 'text/html'))).toBe('UNSUPPORTED_MEDIA_TYPE');
  });
});

describe('a manifest', () => {
  test('keeps unknown fields', () => {
    const manifest = parse({ ...image, layers: [{ ...layer, 'x-new': [1] }], future: { a: 1 } });
    expect(manifest.json).toMatchObject({ future: { a: 1 }, layers: [{ 'x-new': [1] }] });
  });

  test('has nested indexes, platforms and annotations among its children', () => {
    const manifest = parse({
      ...index,
      manifests: [child, { mediaType: ociIndex, digest, size: 1, annotations: { a: 'b' } }],
    });
    expect(manifest).toMatchObject({
      kind: 'index',
      manifests: [
        { platform: { os: 'linux', architecture: 'arm64', variant: 'v8' } },
        { mediaType: ociIndex, annotations: { a: 'b' } },
      ],
    });
  });

  test('of an index without children may say null', () => {
    expect(parse({ schemaVersion: 2, mediaType: ociIndex, manifests: null })).toMatchObject({
      kind: 'index',
      manifests: [],
    });
  });

  test.each<[string, unknown]>([
    ['both layers and manifests', { ...image, ...index }],
    ['fsLayers beside layers', { ...image, fsLayers: [] }],
    ['a config beside manifests', { ...index, config }],
    ['no layers', { schemaVersion: 2, mediaType: oci, config }],
    ['no config', { schemaVersion: 2, mediaType: oci, layers: [] }],
    ['neither layers nor manifests', { schemaVersion: 2 }],
    ['schema version 3', { ...image, schemaVersion: 3 }],
    ['a list for an object', [image]],
    ['a negative size', { ...image, config: { ...config, size: -1 } }],
    ['a fractional size', { ...image, config: { ...config, size: 1.5 } }],
    ['a size beyond what can be counted', { ...image, config: { ...config, size: 2 ** 53 } }],
    ['a size in words', { ...image, config: { ...config, size: '7' } }],
    ['a digest that is cut short', { ...image, config: { ...config, digest: digest.slice(0, 70) } }],
    ['a digest that is a path', { ...image, config: { ...config, digest: 'sha256:../../../../etc/passwd' } }],
    ['a digest in upper case', { ...image, config: { ...config, digest: digest.toUpperCase() } }],
    ['a layer that is null', { ...image, layers: [null] }],
    ['annotations with numbers', { ...image, annotations: { a: 1 } }],
    ['a platform in words', { ...index, manifests: [{ ...child, platform: 'linux/amd64' }] }],
    ['layers in a spelling that Go would take for layers', { ...image, Layers: [] }],
    ['a size that Go would take for the size', { ...image, config: { ...config, SIZE: 8 } }],
    ['layers with a long s, which Go folds too', { ...image, layerſ: [] }],
  ])('with %s is refused', (_, document) => {
    expect(codeOf(() => parse(document))).toBe('INVALID_MANIFEST');
  });

  test('with a field twice is refused, since readers disagree about which one counts', () => {
    const text = JSON.stringify(image);
    expect(codeOf(() => parseText(text.replace('"layers":', '"layers":[],"layers":')))).toBe(
      'INVALID_MANIFEST',
    );
    expect(codeOf(() => parseText(text.replace('"layers":', '"l\\u0061yers":[],"layers":')))).toBe(
      'INVALID_MANIFEST',
    );
  });

  test('with a field named __proto__ changes no object', () => {
    const manifest = parseText(JSON.stringify(image).replace('{', '{"__proto__":{"polluted":true},'));
    expect(Reflect.get({}, 'polluted')).toBeUndefined();
    expect(Reflect.get(manifest.json, 'polluted')).toBeUndefined();
    expect(serializeJson({ ...manifest.json }).toString()).toContain('"__proto__":{"polluted":true}');
  });

  test('of more than 8 MiB is refused', () => {
    expect(codeOf(() => parseText(' '.repeat(8 * 1024 * 1024 + 1)))).toBe('LIMIT_EXCEEDED');
  });

  test.each([
    '['.repeat(100_000),
    `{"a":${'['.repeat(65)}${']'.repeat(65)}}`,
    '{"a":"\\"'.repeat(100_000),
    '\ufeff{}',
    '{"a":\u0000}',
  ])('that is broken or too deep is refused in time (%#)', (text) => {
    expect(codeOf(() => parseText(text))).toBe('INVALID_MANIFEST');
  });

  test('is parsed or refused whatever the bytes', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.json(),
          fc.json().map((text) => `{"schemaVersion":2,"layers":${text}}`),
        ),
        (text) => {
          expect(['accepted', 'INVALID_MANIFEST', 'UNSUPPORTED_MEDIA_TYPE']).toContain(
            codeOf(() => parseText(text)),
          );
        },
      ),
    );
  });
});

test('JSON is written without white space, in the order in which it was read', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue(), { noNullPrototype: true }), (object) => {
      const text = JSON.stringify(object);
      expect(serializeJson(parseJsonObject(Buffer.from(text), 'it')).toString()).toBe(text);
    }),
  );
});
