import { execFile } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createAuthority, type TestAuthority } from '../support/certificates.ts';
import { describeWith } from '../support/programs.ts';
import { startDemoRegistry, type DemoRegistry } from './demo-registry.ts';
import { runProgram } from './run-program.ts';

// What the built program imports only when a run needs it: each of these is a chunk, or a module of Node, of its own.

const execute = promisify(execFile);
const fixture = new URL('../../fixtures/hello/hello.ko', import.meta.url);
const passphrase = 'open sesame';

describeWith(['openssl', 'skopeo'], 'the embedded registry over TLS', ({ skopeo }) => {
  let directory: string;
  let authority: TestAuthority;
  let registry: DemoRegistry;
  let vendor: string;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'kmm-sign-test-'));
    authority = await createAuthority(directory);
    const { certificate, key } = await authority.issueServer('registry');
    registry = await startDemoRegistry(['--tls-cert-file', certificate, '--tls-key-file', key]);
    vendor = `${registry.address}/vendor/driver:1.0`;
  });

  afterAll(async () => {
    await registry?.[Symbol.asyncDispose]();
    await rm(directory, { recursive: true, force: true });
  });

  test('is read by skopeo', async () => {
    const certificates = join(directory, 'certs.d');
    await mkdir(certificates);
    await copyFile(authority.certificate, join(certificates, 'ca.crt'));
    const { stdout } = await execute(skopeo, [
      'inspect',
      '--cert-dir',
      certificates,
      '--format',
      '{{.Digest}}',
      `docker://${vendor}`,
    ]);
    const resolved = await runProgram(['resolve', vendor, '--ca-file', authority.certificate]);
    expect(resolved).toMatchObject({ exitCode: 0, stdout, stderr: '' });
  });

  test('takes a signed image from one that trusts its authority', async () => {
    const signed = `${registry.address}/test/tls:1`;
    const trusting = ['--ca-file', authority.certificate, '--quiet'];
    const keys = ['--key', registry.key, '--cert', registry.certificate];
    const run = await runProgram(['sign', vendor, signed, ...keys, ...trusting]);
    expect(run).toMatchObject({ exitCode: 0, stderr: '' });
    const verified = await runProgram(['verify', signed, '--cert', registry.certificate, ...trusting]);
    expect(verified).toMatchObject({ exitCode: 0, stderr: '' });
  });

  test('is refused without its authority, unless any certificate will do', async () => {
    const refused = await runProgram(['exists', vendor, '--retries', '0']);
    expect(refused).toMatchObject({ exitCode: 5, stdout: '' });
    expect(refused.stderr).toContain('certificate');
    const careless = await runProgram(['exists', vendor, '--insecure-skip-tls-verify']);
    expect(careless).toMatchObject({ exitCode: 0, stdout: 'exists\n' });
  });
});

describeWith(['openssl', 'sign-file', 'xz'], 'keys and modules', (programs) => {
  let directory: string;
  const at = (name: string) => join(directory, name);

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'kmm-sign-test-'));
    await runProgram(['keygen', '-o', directory, '--bits', '2048']);
    await execute(programs['sign-file'], [
      'sha256',
      at('signing_key.key'),
      at('signing_key.pem'),
      fixture.pathname,
      at('expected.ko'),
    ]);
  });

  afterAll(async () => {
    await rm(directory, { recursive: true, force: true });
  });

  /** Signs a copy of the module, or of another file; gives what became of it. */
  async function sign(name: string, args: readonly string[], env = {}): Promise<Buffer> {
    const run = await runProgram(['sign-file', '-q', ...args, at(name)], { env });
    expect(run).toMatchObject({ exitCode: 0, stderr: '' });
    return readFile(at(name));
  }

  test('a key in a PKCS #12 container signs as the same key in PEM does', async () => {
    const files = ['-inkey', at('signing_key.key'), '-in', at('signing_key.pem'), '-out', at('key.p12')];
    await execute(programs.openssl, ['pkcs12', '-export', ...files, '-passout', `pass:${passphrase}`]);
    await copyFile(fixture, at('pkcs12.ko'));
    const signed = await sign('pkcs12.ko', ['--key', at('key.p12')], { KMM_SIGN_PASSWORD: passphrase });
    expect(signed.equals(await readFile(at('expected.ko')))).toBe(true);
  });

  test('a key on an elliptic curve makes a signature that openssl accepts', async () => {
    const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-384', '-noenc', '-subj', '/CN=ec'];
    await execute(programs.openssl, [
      'req',
      '-x509',
      ...curve,
      '-keyout',
      at('ec.key'),
      '-out',
      at('ec.pem'),
    ]);
    await copyFile(fixture, at('ec.ko'));
    const run = await runProgram(
      [
        ['sign-file', '-q', '-d', '--hash', 'sha384'],
        ['--key', at('ec.key'), '--cert', at('ec.pem'), at('ec.ko')],
      ].flat(),
    );
    expect(run).toMatchObject({ exitCode: 0, stderr: '' });
    const { stderr } = await execute(
      programs.openssl,
      [
        ['cms', '-verify', '-binary', '-inform', 'DER', '-in', at('ec.ko.p7s'), '-content', at('ec.ko')],
        ['-certfile', at('ec.pem'), '-CAfile', at('ec.pem'), '-purpose', 'any', '-out', '/dev/null'],
      ].flat(),
    );
    expect(stderr).toContain('successful');
  });

  test('a module packed with xz is unpacked, signed and packed again', async () => {
    await copyFile(fixture, at('packed.ko'));
    await execute(programs.xz, ['--check=crc32', at('packed.ko')]);
    await sign('packed.ko.xz', ['--key', at('signing_key.key'), '--cert', at('signing_key.pem')]);
    await execute(programs.xz, ['-d', at('packed.ko.xz')]);
    expect((await readFile(at('packed.ko'))).equals(await readFile(at('expected.ko')))).toBe(true);
  });
});

describe('credentials', () => {
  let directory: string;
  let registry: DemoRegistry;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'kmm-sign-test-'));
    // bcrypt of "wonderland", at the lowest cost.
    const line = 'alice:$2b$04$4eZh9ut6iNQSWY0ZN/xgAeLlM4RR/RUEnPMNRFVa31xEb9U1gIeHG\n';
    await writeFile(join(directory, 'htpasswd'), line);
    registry = await startDemoRegistry(['--htpasswd', join(directory, 'htpasswd')]);
  });

  afterAll(async () => {
    await registry?.[Symbol.asyncDispose]();
    await rm(directory, { recursive: true, force: true });
  });

  test('come from a helper, and the embedded registry knows them from its password file', async () => {
    const helper = join(directory, 'docker-credential-test');
    const answer = JSON.stringify({ Username: 'alice', Secret: 'wonderland' });
    await writeFile(helper, `#!/bin/sh\ncat >/dev/null\necho '${answer}'\n`, { mode: 0o755 });
    const config = { credHelpers: { [registry.address]: 'test' } };
    await writeFile(join(directory, 'config.json'), JSON.stringify(config));
    const env = { PATH: `${directory}:${process.env['PATH'] ?? ''}`, DOCKER_CONFIG: directory };
    const args = ['exists', `${registry.address}/vendor/driver:1.0`, '--plain-http'];
    expect(await runProgram(args, { env })).toMatchObject({ exitCode: 0, stdout: 'exists\n' });
    expect(await runProgram(args)).toMatchObject({ exitCode: 4, stdout: '' });
  });
});
