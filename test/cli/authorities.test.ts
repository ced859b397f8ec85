import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { RegistryClient } from '../../src/registry/image/client.ts';
import { createAuthority, type TestAuthority } from '../support/certificates.ts';
import { storeImage, withParents } from '../support/images.ts';
import { describeWith } from '../support/programs.ts';
import { startDockerRegistry, type TestRegistry } from '../support/registries.ts';
import { createTestKey, helloModule, type TestKey } from '../support/signing.ts';
import { runProgram, type RunOptions } from './run-program.ts';

describeWith(['docker-registry', 'openssl', 'strace'], 'a registry with TLS', ({ strace }) => {
  let folder: string;
  let registry: TestRegistry;
  let authority: string;
  let stranger: TestAuthority;
  let image: string;
  let digest: string;
  let key: TestKey;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kmm-sign-test-authorities-'));
    registry = await startDockerRegistry({ tls: true });
    authority = registry.caFile ?? '';
    stranger = await createAuthority(join(folder, 'stranger'));
    key = await createTestKey(folder);
    image = `${registry.host}/vendor/driver:1.0`;
    await using client = new RegistryClient({ caFiles: [authority] });
    const layers = [{ entries: withParents('lib/modules/6.1.0/extra/hello.ko', await helloModule) }];
    const repository = client.repository({ registry: registry.host, repository: 'vendor/driver' });
    digest = (await storeImage(repository, { layers }, '1.0')).digest;
  });

  afterAll(async () => {
    await registry?.close();
    await rm(folder, { recursive: true, force: true });
  });

  const resolve = (options: readonly string[], run: RunOptions) =>
    runProgram(['resolve', image, ...options], run);

  /** Resolves the image; returns how often each of two files of authorities was opened. */
  async function openings(options: readonly string[], env: Readonly<Record<string, string>>) {
    const log = join(folder, 'log');
    const through = [strace, '-f', '-qq', '-e', 'trace=open,openat', '-o', log];
    expect(await resolve(options, { env, through })).toMatchObject({ stdout: `${digest}\n`, stderr: '' });
    const lines = (await readFile(log, 'utf8')).split('\n');
    const count = (file: string) => lines.filter((line) => line.includes(`"${file}"`)).length;
    return { authority: count(authority), stranger: count(stranger.certificate) };
  }

  const found = { stdout: expect.stringMatching(/^sha256:/), stderr: '', exitCode: 0 };

  test('is known by an authority of the system', async () => {
    expect(await resolve([], { env: { SSL_CERT_FILE: authority } })).toMatchObject(found);
    const env = { SSL_CERT_FILE: authority, NODE_EXTRA_CA_CERTS: stranger.certificate };
    expect(await resolve(['--ca-file', stranger.certificate], { env })).toMatchObject(found);
  });

  test('is known by an authority that Node is given', async () => {
    expect(await resolve([], { env: { NODE_EXTRA_CA_CERTS: authority } })).toMatchObject(found);
    const env = { NODE_EXTRA_CA_CERTS: authority, SSL_CERT_FILE: stranger.certificate };
    expect(await resolve(['--ca-file', stranger.certificate], { env })).toMatchObject(found);
  });

  test('is refused if its authority is nowhere', async () => {
    const env = { NODE_EXTRA_CA_CERTS: stranger.certificate, SSL_CERT_FILE: stranger.certificate };
    for (const options of [[], ['--ca-file', stranger.certificate]]) {
      expect(await resolve(options, { env })).toEqual({
        exitCode: 5,
        signal: null,
        stdout: '',
        stderr: [
          `kmm-sign: Cannot reach ${registry.host}: its certificate is not signed by an authority that is trusted here`,
          "hint: Provide the authority's certificate with --ca-file.\n",
        ].join('\n'),
      });
    }
  });

  test('is signed in with an authority of the system', async () => {
    const destination = `${registry.host}/vendor/driver:signed`;
    const keys = ['--key', key.key, '--cert', key.certificate];
    const env = { SSL_CERT_FILE: authority };
    const signed = await runProgram(['sign', image, destination, ...keys, '--quiet'], { env });
    expect(signed).toMatchObject({ exitCode: 0, stderr: '' });
    const verified = await runProgram(['verify', destination, '--cert', key.certificate], { env });
    expect(verified).toMatchObject({ exitCode: 0 });
  });

  test('has no authorities of the system read for it that it does not need', async () => {
    const system = { SSL_CERT_FILE: stranger.certificate };
    expect(await openings(['--ca-file', authority], system)).toEqual({ authority: 1, stranger: 0 });
    expect(await openings([], { ...system, NODE_EXTRA_CA_CERTS: authority })).toEqual({
      authority: 1,
      stranger: 0,
    });
    expect(await openings([], { SSL_CERT_FILE: authority })).toEqual({ authority: 1, stranger: 0 });
  });
});
