import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { RegistryClient } from '../../../src/registry/image/client.ts';
import { openRepository, parseImageLocation } from '../../../src/registry/open-repository.ts';
import { Secret } from '../../../src/shared/secret.ts';
import {
  signImage,
  verifyImage,
  storeImage,
  withParents,
  createTestKey,
  helloModule,
  type TestKey,
} from '../../support/signed-images.ts';
import { describeEachRegistry, type TestRegistry, testUser } from '../../support/registries.ts';

let folder: string;
let key: TestKey;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kmm-sign-test-'));
  key = await createTestKey(folder);
});

afterAll(() => rm(folder, { recursive: true, force: true }));

describeEachRegistry('an image is signed in', (start, kind) => {
  let registry: TestRegistry;
  let client: RegistryClient;
  beforeAll(async () => {
    registry = await start({ authentication: 'basic', tls: true });
    client = new RegistryClient({
      caFiles: registry.caFile === undefined ? [] : [registry.caFile],
      credentials: { explicit: { username: testUser.username, password: new Secret(testUser.password) } },
    });
  });
  afterAll(async () => {
    await client.close();
    await registry.close();
  });

  it('a repository and another one of it, without a blob being sent twice', async () => {
    const source = client.repository({ registry: registry.host, repository: 'vendor/driver' });
    const destination = client.repository({ registry: registry.host, repository: 'signed/driver' });
    const layers = [
      { entries: withParents('usr/share/large', Buffer.alloc(400_000, kind)) },
      { entries: withParents('m/a.ko', await helloModule) },
    ];
    await storeImage(source, { layers }, '1.0');
    const options = { source: { repository: source, selector: { tag: '1.0' } }, signer: key.signer };
    const report = await signImage({ ...options, destination: { repository: destination, tag: '1.0' } });
    expect(report.status).toBe('signed');
    const [changed] = report.platforms[0]?.layers ?? [];
    const signed = await destination.getManifest({ tag: '1.0' });
    if (signed.kind !== 'image') throw new Error('the destination holds no image');
    // The manifest is stored by digest first, and then under its tag.
    const described = signed.config.size + 2 * signed.raw.bytes.length;
    expect(report.bytesUp).toBe((changed?.size ?? 0) + described);
    const image = { repository: destination, selector: { tag: '1.0' } };
    expect(await verifyImage({ image, certificates: [key.signer.certificate] })).toMatchObject({
      worst: 'trusted',
    });
  });

  it('an OCI layout, from which it goes back', async () => {
    const layout = await openRepository(parseImageLocation(`oci:${join(folder, kind)}:1.0`), {});
    const remote = client.repository({ registry: registry.host, repository: 'from/layout' });
    await storeImage(layout, { layers: [{ entries: withParents('m/a.ko', await helloModule) }] }, '1.0');
    const report = await signImage({
      source: { repository: layout, selector: { tag: '1.0' } },
      destination: { repository: remote, tag: 'signed' },
      signer: key.signer,
    });
    const back = await signImage({
      source: { repository: remote, selector: { tag: 'signed' } },
      destination: { repository: layout, tag: 'signed' },
      signer: key.signer,
    });
    expect(back.digest).toBe(report.digest);
    expect(await layout.resolve({ tag: 'signed' })).toMatchObject({ digest: report.digest });
  });
});
