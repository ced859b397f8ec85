import { beforeEach, describe, expect, it } from 'vitest';
import { digestOf } from '../../../src/registry/model/digest.ts';
import type { ImageIndex, RawManifest } from '../../../src/registry/model/manifest.ts';
import { dockerMediaTypes, ociMediaTypes } from '../../../src/registry/model/media-types.ts';
import {
  signTag,
  type ImageRepository,
  type SignImageOptions,
  verifyImage,
  storeBlob,
  storeImage,
  storeManifest,
  withParents,
  useSigningBench,
} from '../../support/signed-images.ts';

const bench = useSigningBench();
const platforms = {
  amd64: { os: 'linux', architecture: 'amd64' },
  arm64: { os: 'linux', architecture: 'arm64', variant: 'v8' },
};
let source: ImageRepository;
let destination: ImageRepository;

beforeEach(() => {
  ({ source, destination } = bench.freshPair('multi'));
});

function sign(options: Partial<SignImageOptions> = {}) {
  return signTag(source, destination, bench.key.signer, options);
}

function child({ mediaType, digest, bytes }: RawManifest, more: Record<string, unknown> = {}) {
  return { mediaType, digest, size: bytes.length, ...more };
}

async function storeDriver(platform: { os: string; architecture: string }, family: 'oci' | 'docker' = 'oci') {
  const entries = withParents(`m/${platform.architecture}.ko`, bench.hello);
  return storeImage(source, { layers: [{ entries }], platform, family });
}

async function storePlain(name: string, platform = platforms.arm64) {
  return storeImage(source, { layers: [{ entries: [{ name, content: name }] }], platform });
}

/** What BuildKit adds for each image: provenance that speaks of that image's digest. */
async function storeAttestation(subject: RawManifest) {
  const statement = await storeBlob(
    source,
    'application/vnd.in-toto+json',
    Buffer.from(`{"of":"${subject.digest}"}`),
  );
  const config = await storeBlob(
    source,
    ociMediaTypes.config,
    Buffer.from('{"architecture":"unknown","os":"unknown"}'),
  );
  const json = { schemaVersion: 2, mediaType: ociMediaTypes.manifest, config, layers: [statement] };
  return child(await storeManifest(source, ociMediaTypes.manifest, json), {
    platform: { os: 'unknown', architecture: 'unknown' },
    annotations: {
      'vnd.docker.reference.type': 'attestation-manifest',
      'vnd.docker.reference.digest': subject.digest,
    },
  });
}

async function storeIndex(manifests: unknown[], more: Record<string, unknown> = {}, tag?: string) {
  const json = { schemaVersion: 2, mediaType: ociMediaTypes.index, manifests, ...more };
  return storeManifest(source, ociMediaTypes.index, json, tag);
}

async function result(): Promise<ImageIndex> {
  const manifest = await destination.getManifest({ tag: '1.0' });
  if (manifest.kind !== 'index') throw new Error('the destination holds no index');
  return manifest;
}

async function states(): Promise<Record<string, string>> {
  const image = { repository: destination, selector: { tag: '1.0' } };
  const report = await verifyImage({ image, certificates: [bench.key.signer.certificate] });
  return Object.fromEntries(
    report.platforms.flatMap(({ modules }) => modules.map(({ path, state }) => [path, state])),
  );
}

describe('an index', () => {
  it('is signed for every platform that has modules; children without pass through', async () => {
    const amd64 = await storeDriver(platforms.amd64);
    const arm64 = await storeDriver(platforms.arm64);
    const plain = await storePlain('tool');
    const manifests = [
      child(amd64, { platform: platforms.amd64, 'x-note': 'kept' }),
      child(plain, { platform: { os: 'windows', architecture: 'amd64', 'os.version': '10.0.1' } }),
      child(arm64, { platform: platforms.arm64, annotations: { a: 'b' } }),
    ];
    const before = await storeIndex(manifests, { annotations: { team: 'drivers' }, 'x-unknown': 1 }, '1.0');
    const report = await sign();
    expect(report.platforms.map(({ platform }) => platform)).toEqual(['linux/amd64', 'linux/arm64/v8']);
    const { json, annotations, raw } = await result();
    expect(raw.digest).toBe(report.digest);
    expect(raw.digest).toBe(digestOf(raw.bytes));
    expect(json['x-unknown']).toBe(1);
    expect(json['manifests']).toMatchObject([
      { platform: platforms.amd64, 'x-note': 'kept', digest: report.platforms[0]?.digest },
      child(plain),
      { platform: platforms.arm64, annotations: { a: 'b' }, digest: report.platforms[1]?.digest },
    ]);
    expect(annotations).toMatchObject({
      team: 'drivers',
      'org.opencontainers.image.base.digest': before.digest,
    });
    expect(await states()).toEqual({ '/m/amd64.ko': 'trusted', '/m/arm64.ko': 'trusted' });
    expect(await sign()).toMatchObject({ status: 'unchanged', bytesUp: 0 });
    expect(await sign({ trustAnnotations: true })).toMatchObject({ status: 'unchanged', bytesUp: 0 });
  });

  it('is signed only for the platforms that are asked for', async () => {
    const arm64 = child(await storeDriver(platforms.arm64), { platform: platforms.arm64 });
    await storeIndex(
      [child(await storeDriver(platforms.amd64), { platform: platforms.amd64 }), arm64],
      {},
      '1.0',
    );
    const missing = { os: 'linux', architecture: 's390x' };
    await expect(sign({ platforms: [platforms.amd64, missing] })).rejects.toMatchObject({
      code: 'PLATFORM_NOT_FOUND',
      facts: { platforms: ['linux/s390x'] },
    });
    await sign({ platforms: [platforms.amd64] });
    expect((await result()).manifests[1]).toMatchObject({ digest: arm64.digest });
    expect(await states()).toEqual({ '/m/amd64.ko': 'trusted', '/m/arm64.ko': 'unsigned' });
  });

  it('is signed for every variant of an architecture that is asked for without one', async () => {
    const platform = { os: 'linux', architecture: 'arm', variant: 'v6' };
    await storeIndex([child(await storeDriver(platform), { platform })], {}, '1.0');
    await sign({ platforms: [{ os: 'linux', architecture: 'arm' }] });
    expect(await states()).toEqual({ '/m/arm.ko': 'trusted' });
  });

  it('loses attestations, which speak of the unsigned image, and says so', async () => {
    const amd64 = await storeDriver(platforms.amd64);
    const attestation = await storeAttestation(amd64);
    await storeIndex([child(amd64, { platform: platforms.amd64 }), attestation], {}, '1.0');
    const report = await sign();
    expect(report.droppedChildren).toMatchObject([{ digest: attestation.digest }]);
    expect((await result()).manifests).toHaveLength(1);
  });

  it('may hold further indexes', async () => {
    const amd64 = await storeDriver(platforms.amd64);
    const inner = await storeIndex([child(amd64, { platform: platforms.amd64 })]);
    await storeIndex([child(inner), child(await storePlain('x'), { platform: platforms.arm64 })], {}, '1.0');
    expect((await sign()).status).toBe('signed');
    expect(await states()).toEqual({ '/m/amd64.ko': 'trusted' });
    expect((await sign()).status).toBe('unchanged');
  });

  it('without any module is an error, unless that is allowed; then it is copied as it is', async () => {
    const attestation = await storeAttestation(await storePlain('y'));
    const before = await storeIndex(
      [child(await storePlain('y'), { platform: platforms.arm64 }), attestation],
      {},
      '1.0',
    );
    await expect(sign()).rejects.toMatchObject({ code: 'FILE_NOT_IN_IMAGE' });
    expect(await sign({ allowUnmatched: true })).toMatchObject({
      digest: before.digest,
      droppedChildren: [],
    });
    expect((await result()).raw.digest).toBe(before.digest);
  });

  it('needs a pattern to match in one of its platforms only', async () => {
    const children = [
      child(await storeDriver(platforms.amd64), { platform: platforms.amd64 }),
      child(await storeDriver(platforms.arm64), { platform: platforms.arm64 }),
    ];
    await storeIndex(children, {}, '1.0');
    await sign({ files: ['/m/amd64.ko'] });
    expect(await states()).toEqual({ '/m/amd64.ko': 'trusted', '/m/arm64.ko': 'unsigned' });
    await expect(sign({ files: ['/m/amd64.ko', '/m/riscv64.ko'] })).rejects.toMatchObject({
      code: 'FILE_NOT_IN_IMAGE',
      facts: { patterns: ['/m/riscv64.ko'] },
    });
  });

  it("of Docker's kind stays one, with the facts as labels", async () => {
    const amd64 = child(await storeDriver(platforms.amd64, 'docker'), { platform: platforms.amd64 });
    const json = { schemaVersion: 2, mediaType: dockerMediaTypes.index, manifests: [amd64] };
    await storeManifest(source, dockerMediaTypes.index, json, '1.0');
    await sign();
    const { raw, manifests } = await result();
    expect(raw.mediaType).toBe(dockerMediaTypes.index);
    expect(raw.bytes.toString()).not.toContain('annotations');
    expect(manifests[0]?.mediaType).toBe(dockerMediaTypes.manifest);
    expect(await states()).toEqual({ '/m/amd64.ko': 'trusted' });
    expect(await sign()).toMatchObject({ status: 'unchanged', bytesUp: 0 });
  });
});
