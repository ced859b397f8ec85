import { describe, expect, test } from 'vitest';
import { parseImageConfig, updateImageConfig } from '../../../src/registry/image/config.ts';
import { replaceChildren, updateManifest } from '../../../src/registry/image/update-manifest.ts';
import { digestOf } from '../../../src/registry/model/digest.ts';
import type { ImageIndex, ImageManifest } from '../../../src/registry/model/manifest.ts';
import { dockerMediaTypes, ociMediaTypes } from '../../../src/registry/model/media-types.ts';
import { createRawManifest, parseManifest } from '../../../src/registry/model/parse-manifest.ts';

const digests = ['a', 'b', 'c', 'd'].map((text) => digestOf(text));
const [first, second, third, fourth] = digests as [
  (typeof digests)[0],
  (typeof digests)[0],
  (typeof digests)[0],
  (typeof digests)[0],
];

function parseImage(document: object): ImageManifest {
  const manifest = parseManifest(createRawManifest('', Buffer.from(JSON.stringify(document))));
  if (manifest.kind !== 'image') throw new Error('not an image');
  return manifest;
}

function parseIndex(document: object): ImageIndex {
  const manifest = parseManifest(createRawManifest('', Buffer.from(JSON.stringify(document))));
  if (manifest.kind !== 'index') throw new Error('not an index');
  return manifest;
}

const jsonOf = (bytes: Buffer): unknown => JSON.parse(bytes.toString());

describe('an index', () => {
  const attestation = {
    'vnd.docker.reference.type': 'attestation-manifest',
    'vnd.docker.reference.digest': first,
  };
  const unknown = { os: 'unknown', architecture: 'unknown' };
  const document = {
    schemaVersion: 2,
    mediaType: ociMediaTypes.index,
    manifests: [
      {
        mediaType: ociMediaTypes.manifest,
        digest: first,
        size: 1,
        platform: { os: 'linux', architecture: 'amd64' },
        'x-kept': 1,
        data: 'AA==',
      },
      {
        mediaType: ociMediaTypes.manifest,
        digest: second,
        size: 2,
        platform: { os: 'linux', architecture: 'arm64', variant: 'v8' },
      },
      {
        mediaType: ociMediaTypes.manifest,
        digest: third,
        size: 3,
        platform: unknown,
        annotations: attestation,
      },
    ],
    annotations: { old: '1' },
    'x-also-kept': true,
  };

  test('is rewritten with children replaced and dropped, and everything else kept in order', () => {
    const raw = replaceChildren(
      parseIndex(document),
      new Map<number, { digest: typeof fourth; size: number } | 'drop'>([
        [0, { digest: fourth, size: 40 }],
        [2, 'drop'],
      ]),
      { added: '2' },
    );
    const { data: _, ...child } = document.manifests[0] ?? {};
    expect(raw.bytes.toString()).toBe(
      JSON.stringify({
        ...document,
        manifests: [{ ...child, digest: fourth, size: 40 }, document.manifests[1]],
        annotations: { old: '1', added: '2' },
      }),
    );
    expect(raw.digest).toBe(digestOf(raw.bytes));
  });

  test('that is a manifest list gets no annotations', () => {
    const list = { schemaVersion: 2, mediaType: dockerMediaTypes.index, manifests: [] };
    expect(replaceChildren(parseIndex(list), new Map(), { a: 'b' }).bytes.toString()).toBe(
      JSON.stringify(list),
    );
  });
});

describe('a manifest', () => {
  const document = {
    schemaVersion: 2,
    mediaType: ociMediaTypes.manifest,
    config: { mediaType: ociMediaTypes.config, digest: first, size: 1, 'x-config': 1 },
    layers: [
      { mediaType: ociMediaTypes.layerGzip, digest: second, size: 2, 'x-layer': 1 },
      {
        mediaType: ociMediaTypes.layerGzip,
        digest: third,
        size: 3,
        'x-layer': 2,
        annotations: {
          'containerd.io/snapshot/stargz/toc.digest': 'sha256:…',
          'io.containers.estargz.uncompressed-size': '1',
          mine: 'yes',
        },
      },
    ],
    subject: { mediaType: ociMediaTypes.manifest, digest: first, size: 1 },
  };

  test('is rewritten with a layer replaced: others are verbatim, indexes into the old bytes are dropped', () => {
    const image = parseImage(document);
    const [base, top] = image.layers;
    if (base === undefined || top === undefined) throw new Error('two layers');
    const raw = updateManifest(image, {
      config: { mediaType: ociMediaTypes.config, digest: fourth, size: 10 },
      layers: [base, { ...top, digest: fourth, size: 30 }],
      annotations: { a: 'b' },
    });
    expect(jsonOf(raw.bytes)).toEqual({
      ...document,
      config: { mediaType: ociMediaTypes.config, digest: fourth, size: 10, 'x-config': 1 },
      layers: [
        document.layers[0],
        {
          mediaType: ociMediaTypes.layerGzip,
          digest: fourth,
          size: 30,
          'x-layer': 2,
          annotations: { mine: 'yes' },
        },
      ],
      annotations: { a: 'b' },
    });
    expect(parseManifest(raw)).toMatchObject({
      kind: 'image',
      layers: [{ digest: second }, { digest: fourth }],
    });
  });

  test('gets a layer on top', () => {
    const image = parseImage(document);
    const added = { mediaType: ociMediaTypes.layerGzip, digest: fourth, size: 4 };
    const raw = updateManifest(image, { config: image.config, layers: [...image.layers, added] });
    expect(jsonOf(raw.bytes)).toEqual({ ...document, layers: [...document.layers, added] });
  });
});

describe('a configuration', () => {
  const json = {
    created: '2020-01-01T00:00:00Z',
    architecture: 'arm64',
    variant: 'v8',
    os: 'linux',
    config: { Env: ['A=B'], Labels: { old: '1' }, 'x-kept': null },
    rootfs: { type: 'layers', diff_ids: [first, second] },
    history: [{ created_by: 'base' }, { created_by: 'ENV', empty_layer: true }, { created_by: 'top' }],
    'moby.buildkit.buildinfo.v1': 'kept',
  };
  const layer = { mediaType: ociMediaTypes.layerGzip, digest: first, size: 1 };
  const manifest = {
    config: { mediaType: ociMediaTypes.config, digest: first, size: 1 },
    layers: [layer, layer],
  };
  const parse = (document: object) => parseImageConfig(Buffer.from(JSON.stringify(document)), manifest);

  test('says its platform and diff IDs', () => {
    expect(parse(json)).toMatchObject({
      platform: { os: 'linux', architecture: 'arm64', variant: 'v8' },
      diffIds: [first, second],
    });
  });

  test('is rewritten with a layer, its history and labels, and everything else kept', () => {
    const written = updateImageConfig(parse(json), {
      diffIds: [first, second, third],
      appended: { createdBy: 'signing', created: 86_400 },
      labels: { signed: 'yes' },
    });
    expect(jsonOf(written.bytes)).toEqual({
      ...json,
      rootfs: { type: 'layers', diff_ids: [first, second, third] },
      history: [...json.history, { created: '1970-01-02T00:00:00Z', created_by: 'signing' }],
      config: { ...json.config, Labels: { old: '1', signed: 'yes' } },
    });
    expect(written.descriptor).toEqual({
      mediaType: ociMediaTypes.config,
      digest: digestOf(written.bytes),
      size: written.bytes.length,
    });
  });

  test('without a history stays without one', () => {
    const { history: _, ...bare } = json;
    const written = updateImageConfig(parse(bare), {
      diffIds: [third],
      appended: { createdBy: 'x', created: 0 },
    });
    expect(jsonOf(written.bytes)).not.toHaveProperty('history');
  });

  test.each([
    ['fewer diff IDs than the manifest has layers', { ...json, rootfs: { diff_ids: [first] } }],
    ['no rootfs', { os: 'linux' }],
    ['a diff ID that is not a digest', { ...json, rootfs: { diff_ids: [first, 'sha256:x'] } }],
  ])('with %s is refused', (_, document) => {
    expect(() => parse(document)).toThrow(expect.objectContaining({ code: 'INVALID_MANIFEST' }));
  });
});
