import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { beforeEach, describe, expect, it } from 'vitest';
import { digestOf } from '../../../src/registry/model/digest.ts';
import type { ImageManifest, RawManifest } from '../../../src/registry/model/manifest.ts';
import type { JsonObject } from '../../../src/registry/model/json.ts';
import { dockerMediaTypes, ociMediaTypes } from '../../../src/registry/model/media-types.ts';
import {
  signTag,
  type ImageRepository,
  type SignImageOptions,
  makeTar,
  storeBlob,
  storeImage,
  storeManifest,
  withParents,
  type TestLayer,
  createTestKey,
  useSigningBench,
} from '../../support/signed-images.ts';

const bench = useSigningBench();
let count: number;
let source: ImageRepository;
let destination: ImageRepository;

beforeEach(() => {
  ({ count, source, destination } = bench.freshPair('unchanged'));
});

function sign(options: Partial<SignImageOptions> = {}) {
  return signTag(source, destination, bench.key.signer, options);
}

const layers = (): TestLayer[] => [
  { entries: [{ name: 'usr/' }, { name: 'usr/tool', content: 'good', mode: 0o755 }] },
  { entries: withParents('m/a.ko', bench.hello) },
];

async function signedImage(): Promise<ImageManifest> {
  const manifest = await destination.getManifest({ tag: '1.0' });
  if (manifest.kind !== 'image') throw new Error('the destination holds no image');
  return manifest;
}

async function configOf({ config }: ImageManifest): Promise<JsonObject> {
  const chunks: Buffer[] = [];
  for await (const chunk of await destination.openBlob(config)) chunks.push(Buffer.from(chunk as Buffer));
  return JSON.parse(Buffer.concat(chunks).toString()) as JsonObject;
}

interface Forgery {
  /** Position and content of a layer that takes the place of the genuine one. */
  readonly layer?: { readonly at: number; readonly tar: Buffer };
  readonly config?: JsonObject;
  readonly manifest?: JsonObject;
}

/** What somebody pushes who may write to the destination: the signed image, with its annotations, and something else. */
async function forge({ layer, config = {}, manifest = {} }: Forgery): Promise<RawManifest> {
  const genuine = await signedImage();
  const present = await configOf(genuine);
  const { rootfs } = present as { rootfs: { diff_ids: string[] } };
  const diffIds = rootfs.diff_ids.map((diffId, at) => (at === layer?.at ? digestOf(layer.tar) : diffId));
  const written = { ...present, rootfs: { type: 'layers', diff_ids: diffIds }, ...config };
  const descriptors = genuine.layers.map(async (kept, at) =>
    at === layer?.at ? storeBlob(destination, kept.mediaType, gzipSync(layer.tar)) : kept,
  );
  const json = {
    ...genuine.json,
    config: await storeBlob(destination, genuine.config.mediaType, Buffer.from(JSON.stringify(written))),
    layers: await Promise.all(descriptors),
    ...manifest,
  };
  return storeManifest(destination, genuine.raw.mediaType, json, '1.0');
}

const evilTool = () => makeTar([{ name: 'usr/' }, { name: 'usr/tool', content: 'EVIL', mode: 0o755 }]);
const unsignedModule = () => makeTar(withParents('m/a.ko', bench.hello));

describe.each(['rewrite', 'append'] as const)('a destination with the result of signing (%s)', (mode) => {
  it('is left alone, and nothing is sent', async () => {
    await storeImage(source, { layers: layers() }, '1.0');
    const first = await sign({ mode });
    expect(await sign({ mode })).toMatchObject({
      status: 'unchanged',
      digest: first.digest,
      bytesUp: 0,
      platforms: [{ modules: [{ path: '/m/a.ko', action: 'unchanged' }], layers: [] }],
    });
    expect(await sign({ mode, dryRun: true })).toMatchObject({ status: 'unchanged', digest: first.digest });
  });

  it('costs no download of what is in the destination', async () => {
    const noise = Buffer.from(Array.from({ length: 100_000 }, (_, at) => (at * 7919 * at) % 251));
    const large = { entries: [...withParents('m/a.ko', bench.hello), { name: 'noise', content: noise }] };
    await storeImage(source, { layers: [large] }, '1.0');
    const first = await sign({ mode });
    const before = destination.traffic.bytesDown;
    const again = await sign({ mode });
    const read = destination.traffic.bytesDown - before;
    const { raw, config } = await signedImage();
    const original = await source.getManifest({ tag: '1.0' });
    if (original.kind !== 'image') throw new Error('the source holds no image');
    // What describes the image, the manifest at the beginning and at the end; the first time its manifest alone.
    expect(read).toBe(2 * raw.bytes.length + config.size);
    expect(again.bytesDown).toBe(first.bytesDown - raw.bytes.length + read + original.config.size);
  });

  // Each carries the annotations of the genuine result, and a module that is signed where it has one.
  it.each([
    ['another entry point', async () => ({ config: { config: { Entrypoint: ['/usr/tool'] } } })],
    ['another platform', async () => ({ config: { architecture: 'arm64' } })],
    ['another history', async () => ({ config: { history: [] } })],
    [
      'another annotation',
      async () => ({ manifest: { annotations: { ...(await signedImage()).annotations, x: 'y' } } }),
    ],
    ['another subject', async () => ({ manifest: { subject: (await signedImage()).config } })],
  ])('is written anew when it has %s', async (_, forgery) => {
    await storeImage(source, { layers: layers() }, '1.0');
    const { digest } = await sign({ mode });
    for (const options of [{}, { readBack: true }, { trustAnnotations: true }]) {
      const forged = await forge(await forgery());
      expect(forged.digest).not.toBe(digest);
      expect(await sign({ mode, dryRun: true })).toMatchObject({ status: 'planned' });
      expect(await sign({ mode, ...options })).toMatchObject({ status: 'signed', digest });
      expect((await signedImage()).raw.digest).toBe(digest);
    }
  });

  it('is written anew when one of its layers is another one', async () => {
    await storeImage(source, { layers: layers() }, '1.0');
    const { digest } = await sign({ mode });
    const forgeries = [
      { at: 0, tar: await evilTool() },
      { at: mode === 'append' ? 2 : 1, tar: await unsignedModule() },
    ];
    for (const layer of forgeries) {
      await forge({ layer });
      expect(await sign({ mode })).toMatchObject({ status: 'signed', digest });
      // Layers that signing writes are what --trust-annotations does not look at; in mode append that is one.
      await forge({ layer });
      const isKept = mode === 'append' && layer.at === 0;
      expect(await sign({ mode, trustAnnotations: true })).toMatchObject({
        status: isKept ? 'signed' : 'unchanged',
      });
    }
  });

  it('is written anew when it has a layer more', async () => {
    await storeImage(source, { layers: layers() }, '1.0');
    const { digest } = await sign({ mode });
    const tar = await evilTool();
    for (const trustAnnotations of [false, true]) {
      const genuine = await signedImage();
      const { rootfs } = (await configOf(genuine)) as { rootfs: { diff_ids: string[] } };
      const layer = await storeBlob(destination, ociMediaTypes.layerGzip, gzipSync(tar));
      await forge({
        config: { rootfs: { type: 'layers', diff_ids: [...rootfs.diff_ids, digestOf(tar)] } },
        manifest: { layers: [...genuine.layers, { ...layer }] },
      });
      expect(await sign({ mode, trustAnnotations })).toMatchObject({ status: 'signed', digest });
    }
  });

  it('is written anew when a blob or manifest is lost', async () => {
    await storeImage(source, { layers: layers() }, '1.0');
    const first = await sign({ mode });
    const { config, layers: stored } = await signedImage();
    for (const { digest } of [config, ...stored.slice(1)]) {
      await removeBlob(digest);
      expect(await sign({ mode })).toMatchObject({ status: 'signed', digest: first.digest });
      expect(await sign({ mode })).toMatchObject({ status: 'unchanged' });
    }
  });
});

/** Takes a blob out of the registry's storage, all of it: the source shares it. */
async function removeBlob(digest: string): Promise<void> {
  const entries = await readdir(bench.registry.storage, { recursive: true, withFileTypes: true });
  const name = digest.slice('sha256:'.length);
  const paths = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  await Promise.all(
    paths.filter((path) => path.includes(name) && path.includes('signed')).map((path) => rm(path)),
  );
}

describe('an index that was signed', () => {
  it('is written anew when one of its children is another one', async () => {
    const children = [];
    for (const architecture of ['amd64', 'arm64']) {
      const platform = { os: 'linux', architecture };
      const { mediaType, digest, bytes } = await storeImage(source, { layers: layers(), platform });
      children.push({ mediaType, digest, size: bytes.length, platform });
    }
    const json = { schemaVersion: 2, mediaType: ociMediaTypes.index, manifests: children };
    await storeManifest(source, ociMediaTypes.index, json, '1.0');
    const { digest } = await sign();
    expect(await sign({ trustAnnotations: true })).toMatchObject({ status: 'unchanged', digest });
    const genuine = await destination.getManifest({ tag: '1.0' });
    if (genuine.kind !== 'index') throw new Error('the destination holds no index');
    const evil = await storeImage(destination, { layers: [{ tar: await evilTool() }] });
    const [first, second] = Array.isArray(genuine.json['manifests']) ? genuine.json['manifests'] : [];
    for (const trustAnnotations of [false, true]) {
      const swapped = { ...first, digest: evil.digest, size: evil.bytes.length };
      await storeManifest(
        destination,
        ociMediaTypes.index,
        { ...genuine.json, manifests: [swapped, second] },
        '1.0',
      );
      expect(await sign({ trustAnnotations })).toMatchObject({ status: 'signed', digest });
    }
  });
});

describe('a source that is reached by another name', () => {
  it.each([
    ['an image', 'oci', false],
    ["an image of Docker's kind", 'docker', false],
    ['an index', 'oci', true],
    ["an index of Docker's kind", 'docker', true],
  ] as const)('gives the same result: %s', async (_, family, isIndex) => {
    const types = family === 'oci' ? ociMediaTypes : dockerMediaTypes;
    const { mediaType, digest, bytes } = await storeImage(source, { layers: layers(), family }, '1.0');
    const platform = { os: 'linux', architecture: 'amd64' };
    const manifests = [{ mediaType, digest, size: bytes.length, platform }];
    if (isIndex)
      await storeManifest(
        source,
        types.index,
        { schemaVersion: 2, mediaType: types.index, manifests },
        '1.0',
      );
    const first = await sign();
    const image = { repository: source, selector: { digest: first.sourceDigest } };
    for (const options of [{}, { trustAnnotations: true }]) {
      const again = await sign({ source: image, ...options });
      expect(again).toMatchObject({ status: 'unchanged', digest: first.digest, bytesUp: 0 });
    }
    // A name is the only thing that may differ.
    const elsewhere = bench.repository(`other/unchanged-${count}`);
    await storeImage(
      elsewhere,
      { layers: [...layers(), { entries: [{ name: 'x', content: 'x' }] }], family },
      '1.0',
    );
    const other = { repository: elsewhere, selector: { tag: '1.0' } };
    expect(await sign({ source: other })).toMatchObject({ status: 'signed' });
  });
});

describe('what was signed in another way', () => {
  it.each([
    [
      'with another key',
      async () => ({ signer: (await createTestKey(bench.folder, `key-${count}`)).signer }),
    ],
    ['with another digest algorithm', () => Promise.resolve({ hash: 'sha512' as const })],
    ['in another mode', () => Promise.resolve({ mode: 'append' as const })],
  ])('%s is written anew, also when the annotations are believed', async (_, other) => {
    await storeImage(source, { layers: layers() }, '1.0');
    const options = await other();
    await sign(options);
    expect(await sign({ trustAnnotations: true })).toMatchObject({ status: 'signed' });
    await sign(options);
    expect(await sign()).toMatchObject({ status: 'signed' });
  });
});
