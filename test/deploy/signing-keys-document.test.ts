import { execFile } from 'node:child_process';
import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { secrets } from '../../src/controller/observe/cluster/resources.ts';
import type { ApiClient } from '../../src/controller/runtime/api/client.ts';
import { loadSigner } from '../../src/signer/keys/load-signer.ts';
import { createTemporaryDirectory, type TemporaryDirectory } from '../../src/shared/temporary.ts';
import { runProgram } from '../cli/run-program.ts';
import { startModuleWorld, type ModuleWorld } from '../controller/module/module-world.ts';
import { documentExample } from '../end-to-end/document-examples.ts';
import { apiServerPrograms } from '../support/api-server.ts';
import { describeWith, requireProgram } from '../support/programs.ts';
import { helloModule } from '../support/signing.ts';
import { run } from './manifests.ts';

const text = await readFile(fileURLToPath(new URL('../../docs/signing-keys.md', import.meta.url)), 'utf8');
const blocks = [...text.matchAll(/^```(\w*)\n(.*?)^```$/gms)].map(
  ([, language = '', content = '']) => [language, content] as const,
);
const contentsOf = (language: string): string[] =>
  blocks.filter(([name]) => name === language).map(([, content]) => content);
const [generate = '', create = '', encode = '', check = ''] = contentsOf('');
const kernel = '6.1.0-13-amd64';
const sign = { keySecret: { name: 'my-signing-key' }, certSecret: { name: 'my-signing-key-pub' } };

describeWith([...apiServerPrograms, 'bash', 'kubectl', 'modinfo'], 'the key pair of docs/signing-keys.md', () => {
  let world: ModuleWorld;
  let directory: TemporaryDirectory;
  const at = (name: string): string => join(directory.path, name);
  const shell = async (commands: string): Promise<string> => {
    const env = {
      PATH: `${at('bin')}:${process.env['PATH'] ?? ''}`,
      HOME: directory.path,
      KUBECONFIG: world.api.kubeconfig,
    };
    const script = `set -eo pipefail\n${commands}`;
    const options = { cwd: directory.path, env };
    return (await promisify(execFile)(requireProgram('bash'), ['-c', script], options)).stdout;
  };

  beforeAll(async () => {
    directory = await createTemporaryDirectory();
    world = await startModuleWorld();
    await world.startController();
    await mkdir(at('bin'));
    for (const name of ['kubectl', 'oc']) await symlink(requireProgram('kubectl'), join(at('bin'), name));
    await writeFile(at('configuration_file.config'), contentsOf('ini').join('\n'));
    await run('kubectl', ['--kubeconfig', world.api.kubeconfig, 'create', 'namespace', 'default']).catch(() => '');
    await shell(generate);
    await shell(create);
  });
  afterAll(async () => {
    await world?.[Symbol.asyncDispose]();
    await directory?.[Symbol.asyncDispose]();
  });

  it('is made by the command of the documents', () => {
    expect(generate.trim()).toBe(
      'openssl req -x509 -new -nodes -utf8 -sha256 -days 36500 -batch -config configuration_file.config -outform DER ' +
        '-out my_signing_key_pub.der -keyout my_signing_key.priv',
    );
    expect(blocks.map(([language]) => language)).toEqual(['ini', '', '', '', 'yaml', '', 'sh']);
  });

  it('signs a module that modinfo reads', async () => {
    await writeFile(at('hello.ko'), await helloModule);
    const args = ['sign-file', '--key', at('my_signing_key.priv'), '--cert', at('my_signing_key_pub.der'), at('hello.ko')];
    const { exitCode, stderr } = await runProgram(args);
    expect([exitCode, stderr]).toEqual([0, expect.any(String)]);
    expect(await run('modinfo', ['--field', 'signer', at('hello.ko')])).toBe('Example module signing key\n');
  });

  it('is checked by the commands of the documents', async () => {
    const [certificate = '', key = ''] = check.trim().split('\n');
    expect(await shell(certificate)).toMatch(/Serial Number:[\s\S]*Issuer:[\s\S]*Subject: .*Example module signing key/);
    expect(await shell(key)).toMatch(/^-----BEGIN PRIVATE KEY-----\n[\s\S]*-----END PRIVATE KEY-----\n$/);
    const asDocumented = certificate.replace('kubectl', 'oc').replace('base64 -d |', 'base64 -d  |');
    expect(await shell(asDocumented)).toBe(await shell(certificate));
  });

  it('is the same in base64, applied as a file', async () => {
    const before = await readSecrets(world.client);
    await shell(encode);
    const values = {
      '<base64_encoded_secureboot_private_key>': await readFile(at('my_signing_key2.base64'), 'utf8'),
      '<base64_encoded_secureboot_public_key>': await readFile(at('my_signing_key_pub.base64'), 'utf8'),
    };
    const documented = [0, 1].map((index) => JSON.stringify(documentExample('openshift-4.12/4.6-secrets.yaml', index)));
    for (const file of [...documented, contentsOf('yaml').join('\n')]) {
      const filled = Object.entries(values).reduce((all, [name, value]) => all.replaceAll(name, value), file);
      await shell('kubectl delete secret my-signing-key my-signing-key-pub --ignore-not-found');
      await shell(create);
      await run('kubectl', ['--kubeconfig', world.api.kubeconfig, 'apply', '-f', '-'], filled);
      expect(await readSecrets(world.client)).toEqual(before);
    }
  });

  it('is what the operator has an image signed with, and takes as the signature of the result', async () => {
    const name = 'documented-keys';
    await world.namespaceWithNode(name, kernel);
    await shell(create.replaceAll('kubectl create', `kubectl --namespace ${name} create`));
    const unsignedImage = world.image('vendor/driver:1.0');
    await world.push(unsignedImage);
    const unsigned = { unsignedImage, unsignedImageRegistryTLS: { insecure: true } };
    await world.apply(name, world.spec(name, { sign: { ...sign, ...unsigned } }));
    const job = await world.activeJob(name, 'sign');
    const files = { key: at('my_signing_key.priv'), certificate: at('my_signing_key_pub.der') };
    await world.sign(job, { ...files, signer: await loadSigner({ ...files, env: {} }) });
    await world.eventually(name, ({ status }) => {
      expect(status?.kernels).toMatchObject([{ phase: 'Ready', reason: 'Signed' }]);
    });
  });
});

/** The data of both Secrets. */
async function readSecrets(client: ApiClient): Promise<unknown> {
  const names = ['my-signing-key', 'my-signing-key-pub'];
  const found = names.map((name) => client.get(secrets, { namespace: 'default', name }));
  return (await Promise.all(found)).map(({ data }) => data);
}
