import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { RegistryClient } from '../../../src/registry/image/client.ts';
import { readFileOfImage } from '../../../src/registry/image/read-file.ts';
import type { ImageRepository } from '../../../src/registry/image/repository.ts';
import { ociMediaTypes } from '../../../src/registry/model/media-types.ts';
import { storeImage, storeManifest, withParents, type TestEntry } from '../../support/images.ts';
import { startEmbedded, type TestRegistry } from '../../support/registries.ts';

describe('reading one file of an image', () => {
  let registry: TestRegistry;
  let client: RegistryClient;
  let repository: ImageRepository;
  beforeAll(async () => {
    registry = await startEmbedded();
    client = new RegistryClient({ plainHttp: true });
    repository = client.repository({ registry: registry.host, repository: 'files' });
  });
  afterAll(async () => {
    await client.close();
    await registry.close();
  });

  const store = (layers: readonly (readonly TestEntry[])[]) =>
    storeImage(repository, { layers: layers.map((entries) => ({ entries })) });

  /** Stores an image, base layer first, and reads `/etc/release` of it. */
  async function read(layers: readonly (readonly TestEntry[])[], limits: object = {}): Promise<unknown> {
    const { digest } = await store(layers);
    const content = await readFileOfImage({
      repository,
      selector: { digest },
      platform: { os: 'linux', architecture: 'amd64' },
      path: '/etc/release',
      maxFileSize: 100,
      maxLayerBytes: 1_000_000,
      ...limits,
    });
    return content?.toString('utf8');
  }

  test('returns what a container would see', async () => {
    const lower = withParents('etc/release', 'lower');
    expect(await read([lower])).toBe('lower');
    expect(await read([lower, withParents('etc/release', 'upper')])).toBe('upper');
    expect(await read([lower, withParents('etc/other', 'x')])).toBe('lower');
    expect(await read([lower, withParents('etc/.wh.release', '')])).toBeUndefined();
    expect(await read([withParents('etc/other', 'x')])).toBeUndefined();
  });

  test('follows links to other names and layers', async () => {
    const target = withParents('usr/lib/release', 'target');
    const link: TestEntry[] = [
      { name: 'etc/' },
      { name: 'etc/release', type: 'symlink', linkname: '../usr/lib/release' },
    ];
    expect(await read([target, link])).toBe('target');
    expect(
      await read([
        [...target, { name: 'etc/' }],
        [{ name: 'etc/' }, { ...link[1], name: 'etc/release' }],
      ]),
    ).toBe('target');
    expect(await read([[...target, { name: 'etc', type: 'symlink', linkname: 'usr/lib' }]])).toBe('target');
  });

  test('reads no layer below the one that decides', async () => {
    const before = repository.traffic.bytesDown;
    const noise = Buffer.from(Array.from({ length: 200_000 }, (_, index) => (index * 7919 * index) % 251));
    const layers = [[{ name: 'big', content: noise }], withParents('etc/release', 'top')];
    expect(await read(layers)).toBe('top');
    const bytesDown = repository.traffic.bytesDown - before;
    const manifest = await repository.getManifest({ digest: (await store(layers)).digest });
    if (manifest.kind !== 'image') throw new Error('it is not an image');
    const described = manifest.raw.bytes.length + manifest.config.size;
    expect(bytesDown).toBe(described + (manifest.layers[1]?.size ?? 0));
  });

  test('refuses a file and layers that are too large', async () => {
    await expect(read([withParents('etc/release', 'x'.repeat(101))])).rejects.toMatchObject({
      code: 'LIMIT_EXCEEDED',
    });
    await expect(read([withParents('etc/release', 'x')], { maxLayerBytes: 10 })).rejects.toMatchObject({
      code: 'LIMIT_EXCEEDED',
    });
  });

  test('refuses a layer that does not match the configuration', async () => {
    const { bytes, mediaType } = await storeImage(repository, {
      layers: [{ entries: withParents('etc/release', 'other') }],
    });
    const other = JSON.parse(bytes.toString()) as { layers: unknown };
    const { bytes: genuine } = await storeImage(repository, {
      layers: [{ entries: withParents('etc/release', 'genuine') }],
    });
    const forged = { ...(JSON.parse(genuine.toString()) as object), layers: other.layers };
    const { digest } = await storeManifest(repository, mediaType, forged);
    const reading = readFileOfImage({
      repository,
      selector: { digest },
      platform: { os: 'linux', architecture: 'amd64' },
      path: '/etc/release',
      maxFileSize: 100,
      maxLayerBytes: 1_000_000,
    });
    await expect(reading).rejects.toMatchObject({ code: 'INVALID_LAYER' });
  });

  test('takes the image of an index that is for the platform', async () => {
    const manifests = [];
    for (const architecture of ['arm64', 'amd64']) {
      const platform = { os: 'linux', architecture };
      const layers = [{ entries: withParents('etc/release', architecture) }];
      const { digest, mediaType, bytes } = await storeImage(repository, { layers, platform });
      manifests.push({ digest, mediaType, size: bytes.length, platform });
    }
    const index = { schemaVersion: 2, mediaType: ociMediaTypes.index, manifests };
    const { digest } = await storeManifest(repository, ociMediaTypes.index, index);
    const readFor = (architecture: string): Promise<Buffer | undefined> =>
      readFileOfImage({
        repository,
        selector: { digest },
        platform: { os: 'linux', architecture },
        path: '/etc/release',
        maxFileSize: 100,
        maxLayerBytes: 1_000_000,
      });
    expect((await readFor('amd64'))?.toString('utf8')).toBe('amd64');
    expect((await readFor('arm64'))?.toString('utf8')).toBe('arm64');
    await expect(readFor('s390x')).rejects.toMatchObject({ code: 'PLATFORM_NOT_FOUND' });
  });
});
