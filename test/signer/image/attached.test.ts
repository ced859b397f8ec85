import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { RegistryClient } from '../../../src/registry/image/client.ts';
import type { Digest } from '../../../src/registry/model/digest.ts';
import type { RawManifest } from '../../../src/registry/model/manifest.ts';
import { ociMediaTypes } from '../../../src/registry/model/media-types.ts';
import {
  type ImageRepository,
  signImage,
  type SignImageOptions,
  storeBlob,
  storeImage,
  storeManifest,
  withParents,
  createTestKey,
  helloModule,
  useSigningBench,
  type TestKey,
} from '../../support/signed-images.ts';
import { startFaultProxy, type FaultProxy } from '../../support/fault-proxy.ts';
import { describeEachRegistry, startEmbedded, type TestRegistry } from '../../support/registries.ts';

function child({ mediaType, digest, bytes }: RawManifest, more: Record<string, unknown> = {}) {
  return { mediaType, digest, size: bytes.length, ...more };
}

async function storeDriver(repository: ImageRepository, name: string, tag?: string) {
  const layers = [{ entries: withParents(`m/${name}.ko`, await helloModule) }];
  return storeImage(repository, { layers }, tag);
}

/** An artifact without content, as signatures and SOCI indexes are stored. */
async function storeArtifact(
  repository: ImageRepository,
  { artifactType, subject, tag }: { artifactType: string; subject?: RawManifest; tag?: string },
) {
  const empty = await storeBlob(repository, 'application/vnd.oci.empty.v1+json', Buffer.from('{}'));
  const json = {
    schemaVersion: 2,
    mediaType: ociMediaTypes.manifest,
    artifactType,
    config: empty,
    layers: [empty],
    ...(subject === undefined ? {} : { subject: child(subject) }),
  };
  return storeManifest(repository, ociMediaTypes.manifest, json, tag);
}

const bundle = 'application/vnd.dev.sigstore.bundle.v0.3+json';
const sbom = 'application/spdx+json';

describeEachRegistry(
  'what is attached to a source',
  (start, kind) => {
    let folder: string;
    let key: TestKey;
    let registry: TestRegistry;
    let proxy: FaultProxy;
    let client: RegistryClient;
    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), 'kmm-sign-test-'));
      key = await createTestKey(folder);
      registry = await start();
      proxy = await startFaultProxy({ target: registry.url });
      client = new RegistryClient({ plainHttp: true, retries: 0 });
    });
    beforeEach(() => proxy.reset());
    afterAll(async () => {
      await client.close();
      await proxy.close();
      await registry.close();
      await rm(folder, { recursive: true, force: true });
    });

    function sign(name: string, options: Partial<SignImageOptions> = {}) {
      const repository = client.repository({ registry: proxy.host, repository: `vendor/${name}` });
      return signImage({
        source: { repository, selector: { tag: '1.0' } },
        destination: {
          repository: client.repository({ registry: proxy.host, repository: `signed/${name}` }),
          tag: '1.0',
        },
        signer: key.signer,
        ...options,
      });
    }

    async function attach(name: string): Promise<{ subject: Digest; expected: unknown[] }> {
      const repository = client.repository({ registry: registry.host, repository: `vendor/${name}` });
      const image = await storeDriver(repository, 'a', '1.0');
      const tag = image.digest.replace(':', '-');
      const signature = await storeArtifact(repository, { artifactType: bundle, subject: image });
      const list = await storeArtifact(repository, { artifactType: sbom, subject: image });
      if (kind !== 'embedded') {
        // The registry does not know referrers: clients keep a list under a tag.
        const manifests = [child(signature, { artifactType: bundle }), child(list, { artifactType: sbom })];
        const json = { schemaVersion: 2, mediaType: ociMediaTypes.index, manifests };
        await storeManifest(repository, ociMediaTypes.index, json, tag);
      }
      const old = await storeArtifact(repository, { artifactType: 'x/old', tag: `${tag}.sig` });
      const attestation = await storeArtifact(repository, {
        artifactType: 'x/attestation',
        tag: `${tag}.att`,
      });
      const subject = image.digest;
      return {
        subject,
        expected: [
          { subject, digest: signature.digest, type: bundle, tag: null },
          { subject, digest: list.digest, type: sbom, tag: null },
          { subject, digest: old.digest, type: 'signature', tag: `${tag}.sig` },
          { subject, digest: attestation.digest, type: 'attestation', tag: `${tag}.att` },
        ],
      };
    }

    it('is named in the report, and few requests are made for it', async () => {
      const { expected } = await attach('attached');
      for (const dryRun of [true, false]) {
        const report = await sign('attached', { dryRun });
        expect(report.attachedToSource).toHaveLength(expected.length);
        expect(report.attachedToSource).toEqual(expect.arrayContaining(expected));
        expect(report.warnings).toEqual([]);
      }
      const asked = proxy.requests.filter(({ path }) => /\/referrers\/|\/sha256-/.test(path));
      // Twice: referrers, three tags, and the list behind the one of them where referrers are not known.
      expect(asked).toHaveLength(2 * (kind === 'embedded' ? 4 : 5));
    });

    it('does not matter when it cannot be determined, which the report says', async () => {
      const { expected } = await attach('broken');
      const answers = [
        { kind: 'status', status: 500 },
        { kind: 'reset-at-once' },
        { kind: 'status', status: 200, body: '<html>', headers: { 'content-type': ociMediaTypes.index } },
      ] as const;
      for (const fault of answers) {
        proxy.reset(({ path }) => (/\/referrers\/|\/sha256-[0-9a-f]{64}$/.test(path) ? fault : undefined));
        const report = await sign('broken', { destination: fresh() });
        expect(report.status).toBe('signed');
        expect(report.warnings).toEqual([expect.stringContaining('not all signatures')]);
        expect(report.attachedToSource).toHaveLength(expected.length - 2);
      }
    });

    let destinations = 0;
    function fresh() {
      destinations += 1;
      const repository = `signed/fresh-${destinations}`;
      return { repository: client.repository({ registry: registry.host, repository }), tag: '1.0' };
    }

    it('is not looked up when nothing is signed', async () => {
      const name = 'nothing';
      await attach(name);
      const first = await sign(name);
      expect(first.status).toBe('signed');
      proxy.reset();
      const repository = client.repository({ registry: proxy.host, repository: `signed/${name}` });
      await sign(name, { source: { repository, selector: { tag: '1.0' } } });
      expect(proxy.requests.filter(({ path }) => /referrers|sha256-/.test(path))).toEqual([]);
    });
  },
  ['docker-registry', 'embedded'],
);

describe("SOCI's indexes", () => {
  const bench = useSigningBench(() => startEmbedded());
  const soci = 'application/vnd.amazon.soci.index.v2+json';
  const indexDigest = 'com.amazon.soci.index-digest';

  it('of images that change are dropped and named, those of others stay', async () => {
    const source = bench.repository('vendor/soci');
    const destination = bench.repository('signed/soci');
    const about = (image: RawManifest) => ({
      artifactType: soci,
      annotations: { 'com.amazon.soci.image-manifest-digest': image.digest },
    });
    const index = await storeArtifact(source, { artifactType: soci });
    const annotations = { [indexDigest]: index.digest, team: 'drivers' };
    const entries = withParents('m/a.ko', await helloModule);
    const image = await storeImage(source, { layers: [{ entries }], annotations });
    const arm64 = { os: 'linux', architecture: 'arm64' };
    const other = await storeImage(source, {
      layers: [{ entries: [{ name: 'x', content: 'x' }] }],
      platform: arm64,
      annotations,
    });
    const otherIndex = await storeArtifact(source, { artifactType: `${soci}; of=other` });
    const manifests = [
      child(image, { platform: { os: 'linux', architecture: 'amd64' }, annotations }),
      child(other, { platform: arm64, annotations }),
      child(index, about(image)),
      child(otherIndex, about(other)),
    ];
    await storeManifest(
      source,
      ociMediaTypes.index,
      { schemaVersion: 2, mediaType: ociMediaTypes.index, manifests },
      '1.0',
    );
    const options = {
      source: { repository: source, selector: { tag: '1.0' } },
      destination: { repository: destination, tag: '1.0' },
      signer: bench.key.signer,
    };
    const report = await signImage(options);
    expect(report.droppedChildren).toEqual([
      { digest: index.digest, reason: 'SOCI index of the unsigned image' },
    ]);
    expect(report.warnings).toEqual([expect.stringContaining(`the annotation ${indexDigest} was removed`)]);
    const result = await destination.getManifest({ tag: '1.0' });
    if (result.kind !== 'index') throw new Error('the destination holds no index');
    expect(result.manifests.map(({ digest }) => digest)).toEqual([
      report.platforms[0]?.digest,
      other.digest,
      otherIndex.digest,
    ]);
    const [signed, kept] = result.manifests;
    expect(signed?.annotations).toEqual({ team: 'drivers' });
    expect(kept?.annotations).toEqual(annotations);
    const manifest = signed && (await destination.getManifest({ digest: signed.digest }));
    expect(manifest?.annotations).toMatchObject({ team: 'drivers' });
    expect(manifest?.annotations).not.toHaveProperty([indexDigest]);
    expect(await signImage({ ...options, trustAnnotations: true })).toMatchObject({ status: 'unchanged' });
  });
});
