import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { execa } from 'execa';
import { beforeEach, describe, expect, it } from 'vitest';
import { findModule } from '../../../src/controller/observe/images/find-module.ts';
import { resolveImage } from '../../../src/controller/observe/images/resolve.ts';
import { verifyModules } from '../../../src/controller/observe/images/verdict.ts';
import { digestOf } from '../../../src/registry/model/digest.ts';
import { readFileOfImage } from '../../../src/registry/image/read-file.ts';
import type { ImageManifest, RawManifest } from '../../../src/registry/model/manifest.ts';
import { ociMediaTypes } from '../../../src/registry/model/media-types.ts';
import { extractModules } from '../../../src/signer/extract-image.ts';
import {
  signTag,
  type ImageRepository,
  inspectImage,
  verifyImage,
  type SignImageOptions,
  makeTar,
  noReferrers,
  storeBlob,
  storeManifest,
  sum,
  withParents,
  useSigningBench,
} from '../../support/signed-images.ts';
import { describeWith } from '../../support/programs.ts';

const foreign: string = 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip';
const amd64 = { os: 'linux', architecture: 'amd64' };
const bench = useSigningBench();
let count: number;
let source: ImageRepository;
let destination: ImageRepository;

beforeEach(() => {
  ({ count, source, destination } = bench.freshPair('runnable'));
});

const image = () => ({ repository: source, selector: { tag: '1.0' } });

function sign(options: Partial<SignImageOptions> = {}) {
  return signTag(source, destination, bench.key.signer, options);
}

async function states(repository = source, platforms?: SignImageOptions['platforms']) {
  const report = await verifyImage({
    image: { repository, selector: { tag: '1.0' } },
    certificates: [bench.key.signer.certificate],
    platforms,
  });
  return report.platforms.flatMap(({ modules }) => modules.map(({ path, state }) => `${path} ${state}`));
}

/** The one layer of an image with a file, of any media type. */
async function storeLayer(
  path: string,
  {
    mediaType = ociMediaTypes.layerGzip,
    content = bench.hello,
  }: { readonly mediaType?: string; readonly content?: Buffer } = {},
) {
  const tar = await makeTar(withParents(path, content));
  return { diffId: digestOf(tar), descriptor: await storeBlob(source, mediaType, gzipSync(tar)) };
}

interface OddImage {
  readonly layers: readonly { readonly diffId: string; readonly descriptor: object }[];
  readonly configType?: string;
  readonly platform?: object;
}

async function storeOdd(
  { layers, configType = ociMediaTypes.config, platform = amd64 }: OddImage,
  tag?: string,
) {
  const diffIds = layers.map(({ diffId }) => diffId);
  const config = { ...platform, config: {}, rootfs: { type: 'layers', diff_ids: diffIds } };
  const json = {
    schemaVersion: 2,
    mediaType: ociMediaTypes.manifest,
    config: await storeBlob(source, configType, Buffer.from(JSON.stringify(config))),
    layers: layers.map(({ descriptor }) => descriptor),
  };
  return storeManifest(source, ociMediaTypes.manifest, json, tag);
}

function child({ mediaType, digest, bytes }: RawManifest, more: Record<string, unknown> = {}) {
  return { mediaType, digest, size: bytes.length, ...more };
}

function storeIndex(manifests: readonly unknown[], tag?: string) {
  const json = { schemaVersion: 2, mediaType: ociMediaTypes.index, manifests };
  return storeManifest(source, ociMediaTypes.index, json, tag);
}

async function signedImage(): Promise<ImageManifest> {
  const manifest = await destination.getManifest({ tag: '1.0' });
  if (manifest.kind !== 'image') throw new Error('the destination holds no image');
  return manifest;
}

const query = { dirName: '/opt', kernelRelease: '6.1', moduleName: 'a', architecture: 'amd64' };
const signal = new AbortController().signal;

/** Everything that reads the modules of an image. */
const readers: readonly (readonly [string, () => Promise<unknown>])[] = [
  ['verify', () => states()],
  ['inspect', () => inspectImage({ image: image() })],
  ['sign', () => sign()],
  ['extract', () => extractModules({ image: image(), directory: join(bench.folder, `out-${count}`) })],
  [
    "the operator's verdict",
    () => verifyModules({ image: image(), certificates: [bench.key.signer.certificate], files: [], signal }),
  ],
  ["the operator's search", () => findModule({ image: image(), signal }, query)],
  [
    'reading one file',
    () =>
      readFileOfImage({
        ...image(),
        platform: amd64,
        path: '/etc/release',
        maxFileSize: 100,
        maxLayerBytes: 1_000_000,
      }),
  ],
];

describe('a non-distributable layer', () => {
  const path = 'opt/lib/modules/6.1/a.ko';

  it('that lies in the registry is read, signed, and an ordinary layer then', async () => {
    const layer = await storeLayer(path, { mediaType: foreign });
    const urls = ['http://127.0.0.1:1/layer'];
    const base = await storeLayer('etc/release', { content: Buffer.from('base') });
    await storeOdd({ layers: [base, { ...layer, descriptor: { ...layer.descriptor, urls } }] }, '1.0');
    expect(await states()).toEqual([`/${path} unsigned`]);
    expect(await findModule({ image: image(), signal }, query)).toMatchObject({
      found: true,
    });
    await sign();
    expect(await states(destination)).toEqual([`/${path} trusted`]);
    const [, signed] = (await signedImage()).layers;
    expect(signed?.mediaType).toBe(ociMediaTypes.layerGzip);
    expect(signed?.urls).toBeUndefined();
  });

  it('that holds no module is copied with the image', async () => {
    const layer = await storeLayer('etc/release', { mediaType: foreign, content: Buffer.from('base') });
    await storeOdd({ layers: [layer, await storeLayer(path)] }, '1.0');
    await sign();
    const [kept] = (await signedImage()).layers;
    expect(kept).toMatchObject(layer.descriptor);
    expect(kept !== undefined && (await destination.hasBlob(kept))).toBe(true);
  });

  it.each(readers)('that the registry does not have is an error for %s', async (_, read) => {
    const layer = await storeLayer(path, { mediaType: foreign });
    const lost = {
      diffId: layer.diffId,
      descriptor: { ...layer.descriptor, digest: digestOf(`lost ${count}`), urls: ['http://127.0.0.1:1/x'] },
    };
    await storeOdd({ layers: [lost, layer] }, '1.0');
    await expect(read()).rejects.toMatchObject({
      code: 'BLOB_NOT_FOUND',
      message: expect.stringContaining('non-distributable'),
    });
  });
});

describe('a child of an index', () => {
  it.each([
    [
      'with the annotation of an attestation',
      { annotations: { 'vnd.docker.reference.type': 'attestation-manifest' } },
      ociMediaTypes.config,
    ],
    ['whose configuration has a media type with a parameter', {}, `${ociMediaTypes.config}; x=y`],
    ['whose configuration has a media type that says nothing', {}, 'application/octet-stream'],
    [
      'for an unknown platform that has a layer of files',
      {
        platform: { os: 'unknown', architecture: 'unknown' },
        annotations: { 'vnd.docker.reference.type': 'attestation-manifest' },
      },
      ociMediaTypes.config,
    ],
  ])('%s is verified and signed', async (_, descriptor, configType) => {
    const odd = await storeOdd({ layers: [await storeLayer('m/odd.ko')], configType });
    const arm64 = { os: 'linux', architecture: 'arm64' };
    const plain = await storeOdd({ layers: [await storeLayer('m/plain.ko')], platform: arm64 });
    await storeIndex(
      [child(plain, { platform: arm64 }), child(odd, { platform: amd64, ...descriptor })],
      '1.0',
    );
    expect(await states()).toEqual(['/m/plain.ko unsigned', '/m/odd.ko unsigned']);
    expect((await sign()).droppedChildren).toEqual([]);
    expect(await states(destination)).toEqual(['/m/plain.ko trusted', '/m/odd.ko trusted']);
  });

  it('is found by any name of its platform, and the first of one platform counts', async () => {
    const first = await storeOdd({ layers: [await storeLayer('opt/lib/modules/6.1/first.ko')] });
    const second = await storeOdd({ layers: [await storeLayer('opt/lib/modules/6.1/a.ko')] });
    await storeIndex(
      [
        child(first, { platform: { os: 'Linux', architecture: 'x86_64' } }),
        child(second, { platform: amd64 }),
      ],
      '1.0',
    );
    expect(await states(source, [amd64])).toHaveLength(2);
    const resolved = await resolveImage(source, { tag: '1.0' }, undefined, signal);
    expect(resolved?.architectures).toEqual(['amd64']);
    const report = await inspectImage({ image: image(), platforms: [amd64] });
    expect(report.platforms.map(({ shadowed }) => shadowed)).toEqual([false, true]);
    // What is only in the second is nowhere, since no runtime takes that.
    expect(await findModule({ image: image(), signal }, query)).toMatchObject({
      found: false,
    });
    const files = ['/opt/lib/modules/6.1/a.ko'];
    await expect(sign({ files, platforms: [amd64] })).rejects.toMatchObject({ code: 'FILE_NOT_IN_IMAGE' });
    await expect(inspectImage({ image: image(), files })).rejects.toMatchObject({
      code: 'FILE_NOT_IN_IMAGE',
    });
    const directory = join(bench.folder, `out-${count}`);
    const extracted = await extractModules({ image: image(), directory, platform: amd64 });
    expect(extracted.files.map(({ path }) => path)).toEqual(['/opt/lib/modules/6.1/first.ko']);
  });

  it('that is named for several platforms is read once', async () => {
    const content = Buffer.concat([bench.hello, randomBytes(50_000)]);
    const layer = await storeLayer('m/a.ko', { content });
    const both = await storeOdd({ layers: [layer] });
    const platforms = [amd64, { os: 'linux', architecture: 'arm64' }];
    await storeIndex(
      platforms.map((platform) => child(both, { platform })),
      '1.0',
    );
    const report = await sign();
    expect(report.platforms.map(({ platform }) => platform)).toEqual(['linux/amd64', 'linux/arm64']);
    const { config } = JSON.parse(both.bytes.toString()) as { config: { size: number } };
    const written = await destination.getManifest({ tag: '1.0' });
    const { raw: index } = await source.getManifest({ tag: '1.0' });
    // The layer once, the configuration for each platform, who refers to the index and to its child, and the index that was stored.
    const read = [index.bytes.length, both.bytes.length, layer.descriptor.size, 2 * config.size];
    expect(report.bytesDown).toBe(sum([...read, 2 * noReferrers, written.raw.bytes.length]));
    expect(await states(destination)).toEqual(['/m/a.ko trusted', '/m/a.ko trusted']);
  });
});

describeWith(['skopeo'], 'a real runtime library', ({ skopeo }) => {
  it('takes the image with the annotation of an attestation, as we do', async () => {
    const odd = await storeOdd({ layers: [await storeLayer('m/odd.ko')] });
    const annotations = { 'vnd.docker.reference.type': 'attestation-manifest' };
    await storeIndex([child(odd, { platform: amd64, annotations })], '1.0');
    const { stdout } = await execa(skopeo, [
      'inspect',
      '--tls-verify=false',
      '--override-os=linux',
      '--override-arch=amd64',
      '--format={{range .Layers}}{{.}}{{end}}',
      `docker://${source.name}:1.0`,
    ]);
    const chosen = await source.getManifest({ digest: odd.digest });
    expect(chosen).toMatchObject({ layers: [{ digest: stdout }] });
  });
});

describe('a diff ID', () => {
  it.each(readers)('that a layer does not have is an error for %s', async (_, read) => {
    const lower = await storeLayer('etc/release', { content: Buffer.from('base') });
    await storeOdd(
      { layers: [{ ...lower, diffId: digestOf('other') }, await storeLayer('opt/lib/modules/6.1/a.ko')] },
      '1.0',
    );
    await expect(read()).rejects.toMatchObject({ code: 'INVALID_LAYER' });
  });

  it('of a layer that need not be read is not looked at, and the report names the layer', async () => {
    const lower = await storeLayer('etc/release', { content: Buffer.from('base') });
    await storeOdd({ layers: [{ ...lower, diffId: digestOf('other') }, await storeLayer('m/a.ko')] }, '1.0');
    const layersNotRead = [lower.descriptor.digest];
    const files = ['/m/a.ko'];
    expect((await sign({ files })).platforms[0]).toMatchObject({ layersNotRead });
    expect((await inspectImage({ image: image(), files })).platforms[0]).toMatchObject({ layersNotRead });
  });
});

describe('indexes that name indexes', () => {
  it('by way of many small manifests, twice each, end soon', async () => {
    let next = await storeOdd({ layers: [await storeLayer('m/a.ko')] });
    for (let level = 0; level < 40; level += 1) {
      next = await storeIndex([child(next), child(next)], level === 39 ? '1.0' : undefined);
    }
    for (const [, read] of readers.slice(0, 5)) {
      await expect(read()).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' });
    }
  });

  it('beside each other are followed a thousand times at most', async () => {
    const inner = await storeIndex([]);
    await storeIndex(
      Array.from({ length: 1001 }, () => child(inner)),
      '1.0',
    );
    await expect(states()).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' });
    await expect(sign()).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' });
  });

  it('are copied within the same limits', async () => {
    let next = await storeOdd({ layers: [await storeLayer('m/a.ko')], platform: amd64 });
    const plain = await storeOdd({ layers: [await storeLayer('m/b.ko')], platform: amd64 });
    for (let level = 0; level < 12; level += 1) next = await storeIndex([child(next), child(next)]);
    const other = { os: 'linux', architecture: 's390x' };
    await storeIndex([child(plain, { platform: amd64 }), child(next, { platform: other })], '1.0');
    await expect(sign({ platforms: [amd64] })).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' });
  });
});

describe('an artifact', () => {
  it.each(readers.slice(0, 4))('is called so by %s', async (_, read) => {
    const chart = await storeBlob(
      source,
      'application/vnd.cncf.helm.chart.content.v1.tar+gzip',
      Buffer.from(`x${count}`),
    );
    const type = 'application/vnd.cncf.helm.config.v1+json';
    const config = await storeBlob(source, type, Buffer.from('{"name":"chart"}'));
    const json = { schemaVersion: 2, mediaType: ociMediaTypes.manifest, config, layers: [chart] };
    await storeManifest(source, ociMediaTypes.manifest, json, '1.0');
    await expect(read()).rejects.toMatchObject({
      code: 'UNSUPPORTED_MEDIA_TYPE',
      message: expect.stringContaining(`is an artifact (${type})`),
    });
  });

  it('and an image without modules do not send the reader of "inspect" to "inspect"', async () => {
    await storeOdd({ layers: [await storeLayer('etc/x', { content: Buffer.from('x') })] }, '1.0');
    const error = await inspectImage({ image: image() }).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'FILE_NOT_IN_IMAGE', hint: expect.not.stringContaining('inspect') });
  });
});
