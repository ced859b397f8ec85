import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll } from 'vitest';
import { RegistryClient } from '../../src/registry/image/client.ts';
import type { ImageRepository } from '../../src/registry/image/repository.ts';
import { generateKeyPair } from '../../src/signer/keygen.ts';
import { loadSigner } from '../../src/signer/keys/load-signer.ts';
import type { Signer } from '../../src/signer/cms/signer.ts';
import { startEmbedded, type TestRegistry } from './registries.ts';

/** Our own small module, unsigned. */
export const helloModule: Promise<Buffer> = readFile(
  new URL('../../fixtures/hello/hello.ko', import.meta.url),
);

/** A key pair, both in files and loaded. */
export interface TestKey {
  readonly key: string;
  readonly certificate: string;
  readonly signer: Signer;
}

/** Creates an RSA key with a certificate in a directory. */
export async function createTestKey(folder: string, name = 'signing'): Promise<TestKey> {
  const key = join(folder, `${name}.key`);
  const certificate = join(folder, `${name}.pem`);
  await generateKeyPair({ commonName: name, bits: 2048, key, certificate });
  return { key, certificate, signer: await loadSigner({ key, certificate, env: {} }) };
}

/** The fixtures of a suite that signs images, set up before its first test. */
export interface SigningBench {
  folder: string;
  registry: TestRegistry;
  client: RegistryClient;
  key: TestKey;
  hello: Buffer;
  /** Opens a repository of the registry. */
  repository(name: string): ImageRepository;
  /** Opens a source and a destination that no test of the suite has used, and the number in their names. */
  freshPair(name: string): { count: number; source: ImageRepository; destination: ImageRepository };
}

/** Sets up a registry, a key and a directory for a suite, and removes them afterwards. */
export function useSigningBench(start: () => Promise<TestRegistry> = () => startEmbedded()): SigningBench {
  const bench: Partial<SigningBench> = {};
  beforeAll(async () => {
    bench.folder = await mkdtemp(join(tmpdir(), 'kmm-sign-test-'));
    bench.registry = await start();
    bench.client = new RegistryClient({ plainHttp: true });
    bench.key = await createTestKey(bench.folder);
    bench.hello = await helloModule;
  });
  afterAll(async () => {
    await bench.client?.close();
    await bench.registry?.close();
    if (bench.folder !== undefined) await rm(bench.folder, { recursive: true, force: true });
  });
  bench.repository = (name) => {
    const { client, registry } = bench as SigningBench;
    return client.repository({ registry: registry.host, repository: name });
  };
  let count = 0;
  bench.freshPair = (name) => {
    count += 1;
    const suite = bench as SigningBench;
    return {
      count,
      source: suite.repository(`vendor/${name}-${count}`),
      destination: suite.repository(`signed/${name}-${count}`),
    };
  };
  return bench as SigningBench;
}
