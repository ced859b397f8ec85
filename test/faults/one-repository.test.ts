import { afterAll, beforeAll, expect, test } from 'vitest';
import { RegistryClient } from '../../src/registry/image/client.ts';
import { signImage } from '../../src/signer/sign-image.ts';
import { storeImage, withParents } from '../support/images.ts';
import { describeWith } from '../support/programs.ts';
import { startDockerRegistry, type TestRegistry } from '../support/registries.ts';
import { helloModule, useSigningBench } from '../support/signed-images.ts';

// Distribution 2.8 stores each blob's link to a repository by emptying and filling a file, so that it does not find a blob
// that somebody else is storing there once more. In one of ten signings, that hit a manifest.
describeWith(['docker-registry'], 'signings of images with a common base to one repository', () => {
  const bench = useSigningBench();
  const names = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'];
  let registry: TestRegistry;
  let client: RegistryClient;

  const open = (repository: string) => client.repository({ registry: registry.host, repository });

  beforeAll(async () => {
    registry = await startDockerRegistry();
    client = new RegistryClient({ plainHttp: true });
    const base = { entries: withParents('usr/lib/base', 'b'.repeat(100_000)) };
    const module = withParents('lib/modules/6.1.0/extra/hello.ko', await helloModule);
    for (const name of names) {
      const layers = [base, { entries: [...module, { name: 'usr/share/name', content: name }] }];
      await storeImage(open('vendor/driver'), { layers }, name);
    }
  });

  afterAll(async () => {
    await client?.close();
    await registry?.close();
  });

  test('all succeed at a time', async () => {
    for (let round = 0; round < 8; round += 1) {
      const signings = names.map((tag) =>
        signImage({
          source: { repository: open('vendor/driver'), selector: { tag } },
          destination: { repository: open(`signed/driver-${round}`), tag },
          signer: bench.key.signer,
        }),
      );
      const ends = await Promise.allSettled(signings);
      expect(ends.filter(({ status }) => status === 'rejected')).toEqual([]);
    }
  }, 120_000);
});
