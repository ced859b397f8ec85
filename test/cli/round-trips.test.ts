import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { sleep } from '../../src/shared/abortable.ts';
import { RegistryClient } from '../../src/registry/image/client.ts';
import type { ChildDescriptor, Descriptor, ImageManifest } from '../../src/registry/model/manifest.ts';
import { ociMediaTypes } from '../../src/registry/model/media-types.ts';
import { type FaultProxy, startFaultProxy } from '../support/fault-proxy.ts';
import { storeImage, storeManifest, withParents } from '../support/images.ts';
import { describeWith } from '../support/programs.ts';
import { startDockerRegistry, type TestRegistry } from '../support/registries.ts';
import { createTestKey, helloModule, type TestKey } from '../support/signing.ts';
import { runProgram } from './run-program.ts';

/** Milliseconds after which a held response is passed on although nothing came: the test has failed then. */
const longest = 20_000;

const opened = 'POST signed/driver/blobs/uploads/';
const blob = ({ digest }: Descriptor): string => `GET vendor/driver/blobs/${digest}`;

// With a registry far away, what a signing takes is the number of requests that wait for each other.
describeWith(['docker-registry', 'openssl'], 'of the requests of a signing', () => {
  let folder: string;
  let registry: TestRegistry;
  let proxy: FaultProxy;
  let key: TestKey;
  let image: ImageManifest;
  const children: ChildDescriptor[] = [];

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kmm-sign-test-round-trips-'));
    registry = await startDockerRegistry();
    proxy = await startFaultProxy({ target: registry.url });
    key = await createTestKey(folder);
    await using client = new RegistryClient({ plainHttp: true });
    const source = client.repository({ registry: registry.host, repository: 'vendor/driver' });
    const layers = [{ entries: withParents('lib/modules/6.1.0/extra/hello.ko', await helloModule) }];
    await storeImage(source, { layers }, '1.0');
    image = (await source.getManifest({ tag: '1.0' })) as ImageManifest;
    for (const architecture of ['amd64', 'arm64']) {
      const platform = { os: 'linux', architecture };
      const { mediaType, digest, bytes } = await storeImage(source, { layers, platform });
      children.push({ mediaType, digest, size: bytes.length, platform });
    }
    const index = { schemaVersion: 2, mediaType: ociMediaTypes.index, manifests: children };
    await storeManifest(source, ociMediaTypes.index, index, 'both');
  });

  afterAll(async () => {
    await proxy?.close();
    await registry?.close();
    await rm(folder, { recursive: true, force: true });
  });

  /**
   * Signs one tag as another. The response to the first request that starts with `held` is passed on only when requests
   * that start with `awaited` have come. Returns what had come by then.
   */
  async function signHolding(
    [from, to]: readonly [string, string],
    held: string,
    awaited: string,
    count = 1,
  ): Promise<readonly string[]> {
    const came: string[] = [];
    const enough = Promise.withResolvers<void>();
    let state: 'before' | 'holding' | 'after' = 'before';
    const release = async (): Promise<void> => {
      await Promise.race([enough.promise, sleep(longest)]);
      state = 'after';
    };
    proxy.reset(({ method, path }) => {
      if (state === 'after') return undefined;
      came.push(`${method} ${path.replace('/v2/', '')}`);
      if (came.filter((line) => line.startsWith(awaited)).length === count) enough.resolve();
      if (state === 'holding' || !came.at(-1)?.startsWith(held)) return undefined;
      state = 'holding';
      return { kind: 'held', until: release() };
    });
    const images = [`${proxy.host}/vendor/driver:${from}`, `${proxy.host}/signed/driver:${to}`];
    const keys = ['--key', key.key, '--cert', key.certificate, '--plain-http', '--quiet'];
    expect(await runProgram(['sign', ...images, ...keys])).toMatchObject({ exitCode: 0, stderr: '' });
    expect(state).toBe('after');
    return came;
  }

  test('that for the tag does not wait for the source', async () => {
    const tag = 'GET signed/driver/manifests/1.0';
    expect(await signHolding(['1.0', '1.0'], 'GET vendor/driver/manifests/1.0', tag)).toContain(tag);
  });

  test('that for the configuration does not wait for permission to push, and those for layers do', async () => {
    const came = await signHolding(['1.0', '2.0'], opened, blob(image.config));
    const ofBlobs = new Set(came.filter((line) => line.includes('/blobs/')));
    expect(ofBlobs).toEqual(new Set([opened, blob(image.config)]));
  });

  test('those that open an upload for the configuration and one for a layer do not wait for the layer', async () => {
    const [layer] = image.layers;
    if (layer === undefined) throw new Error('there is no layer');
    const came = await signHolding(['1.0', '3.0'], blob(layer), opened, 2);
    expect(came.filter((line) => line === opened)).toHaveLength(2);
  });

  test('those for both configurations do not wait for each other where the result is there', async () => {
    const came = await signHolding(['1.0', '3.0'], 'GET signed/driver/blobs/', blob(image.config));
    expect(came).toContain(blob(image.config));
  });

  test('those for the images of an index do not wait for each other', async () => {
    const [first, second] = children.map(({ digest }) => `GET vendor/driver/manifests/${digest}`);
    const came = await signHolding(['both', 'both'], first ?? '', second ?? '');
    expect(came).toContain(second);
  });
});
