import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { signJob } from '../../src/builder/sign-job.ts';
import { RegistryClient } from '../../src/registry/client.ts';
import { Secret } from '../../src/shared/secret.ts';
import { inspectImage } from '../../src/signer/inspect-image.ts';
import { storeImage, withParents } from '../support/images.ts';
import { startTestRegistry, testUser } from '../support/registries.ts';
import { createTestKey, helloModule } from '../support/signing.ts';
import { runContainer } from './run-container.ts';
import { buildAndSignTarget, signFacts } from './targets.ts';

const program = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
const path = 'opt/lib/modules/5.14.0/hello.ko';

it('what the container of a sign Job runs signs an image with mounted keys and credentials', async () => {
  await using registry = await startTestRegistry('embedded', { authentication: 'basic' });
  const directory = await mkdtemp(join(tmpdir(), 'kmm-sign-test-'));
  const at = (...names: string[]): string => join(directory, ...names);
  const credentials = {
    explicit: { username: testUser.username, password: new Secret<string>(testUser.password) },
  };
  const client = new RegistryClient({ plainHttp: true, credentials });
  try {
    const repository = client.repository({ registry: registry.host, repository: 'driver' });
    const layer = { entries: withParents(path, await helloModule) };
    const { digest } = await storeImage(repository, { layers: [layer] }, 'unsigned');
    const key = await createTestKey(directory);
    for (const name of ['key', 'certificate', 'credentials/0', 'tmp']) {
      await mkdir(at('run', name), { recursive: true });
    }
    await copyFile(key.key, at('run', 'key', 'key'));
    await copyFile(key.certificate, at('run', 'certificate', 'cert'));
    const { username, password } = testUser;
    const auth = Buffer.from(`${username}:${password}`).toString('base64');
    await writeFile(
      at('run', 'credentials', '0', '.dockerconfigjson'),
      JSON.stringify({ auths: { [registry.host]: { auth } } }),
    );
    const { sign, ...rest } = buildAndSignTarget({
      image: `${registry.host}/driver:final`,
      registryTls: { insecure: true },
    });
    if (sign === undefined) throw new Error('The target is signed');
    const target = {
      ...rest,
      sign: {
        ...sign,
        unsignedImage: `${registry.host}/driver:unsigned`,
        unsignedImageRegistryTls: { insecure: true },
        files: [`/${path}`],
      },
    };
    await runContainer({
      job: signJob(target, signFacts({ sourceDigest: digest })),
      paths: { '/run/kmm-sign': at('run'), '/dev/termination-log': at('termination-log') },
      program: [process.execPath, program],
    });
    const image = { repository, selector: { tag: 'final' } };
    const signed = await repository.getManifest(image.selector);
    expect(await readFile(at('termination-log'), 'utf8')).toBe(signed.raw.digest);
    const report = await inspectImage({ image, certificates: [key.signer.certificate] });
    expect(report).toMatchObject({ worst: 'trusted' });
  } finally {
    await client.close();
    await rm(directory, { recursive: true, force: true });
  }
});
