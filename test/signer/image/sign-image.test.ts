import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RegistryClient } from '../../../src/registry/client.ts';
import type { ImageRepository } from '../../../src/registry/image/repository.ts';
import { signImage } from '../../../src/signer/sign-image.ts';
import { generateKeyPair } from '../../../src/signer/keygen.ts';
import { loadSigner } from '../../../src/signer/keys/load-signer.ts';
import type { Signer } from '../../../src/signer/keys/signer.ts';
import { verifyImage } from '../../../src/signer/verify-image.ts';
import { startEmbedded, type TestRegistry } from '../../support/registries.ts';
import { storeImage, withParents } from '../../support/images.ts';

let folder: string;
let registry: TestRegistry;
let client: RegistryClient;
let signer: Signer;
let hello: Buffer;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kmm-sign-test-'));
  registry = await startEmbedded();
  client = new RegistryClient({ plainHttp: true });
  const key = join(folder, 'key.pem');
  const certificate = join(folder, 'cert.der');
  await generateKeyPair({ commonName: 'test', bits: 2048, key, certificate });
  signer = await loadSigner({ key, certificate, env: {} });
  hello = await readFile(new URL('../../../fixtures/hello/hello.ko', import.meta.url));
});

afterAll(async () => {
  await client.close();
  await registry.close();
  await rm(folder, { recursive: true, force: true });
});

function repository(name: string): ImageRepository {
  return client.repository({ registry: registry.host, repository: name });
}

describe('signImage', () => {
  it.each(['rewrite', 'append'] as const)('signs the modules of an image (%s)', async (mode) => {
    const source = repository(`vendor/${mode}`);
    await storeImage(
      source,
      {
        layers: [
          { entries: withParents('etc/os-release', 'ID=example\n') },
          {
            entries: [
              ...withParents('opt/lib/modules/6.1/hello.ko', hello),
              { name: 'opt/readme', content: 'x' },
            ],
          },
        ],
      },
      '1.0',
    );
    const destination = repository(`signed/${mode}`);
    const report = await signImage({
      source: { repository: source, selector: { tag: '1.0' } },
      destination: { repository: destination, tag: '1.0' },
      signer,
      mode,
    });
    expect(report).toMatchObject({
      status: 'signed',
      platforms: [{ modules: [{ action: 'signed', path: '/opt/lib/modules/6.1/hello.ko' }] }],
    });
    const verified = await verifyImage({
      image: { repository: destination, selector: { tag: '1.0' } },
      certificates: [signer.certificate],
    });
    expect(verified.worst).toBe('trusted');
    const again = await signImage({
      source: { repository: source, selector: { tag: '1.0' } },
      destination: { repository: destination, tag: '1.0' },
      signer,
      mode,
    });
    expect(again).toMatchObject({ status: 'unchanged', digest: report.digest, bytesUp: 0 });
  });
});
