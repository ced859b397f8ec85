import { execFileSync } from 'node:child_process';
import { createPrivateKey } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Secret } from '../../src/shared/secret.ts';
import { generateKeyPair, type GenerateKeyPairOptions } from '../../src/signer/keygen.ts';
import { loadSigner } from '../../src/signer/keys/load-signer.ts';
import { describeWith } from '../support/programs.ts';

let directory: string;
const at = (name: string): string => join(directory, name);
const generate = (options: Partial<GenerateKeyPairOptions> = {}) =>
  generateKeyPair({
    commonName: 'Acme modules',
    bits: 2048,
    key: at('key'),
    certificate: at('cert.pem'),
    ...options,
  });

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'kmm-sign-test-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

describeWith(['openssl'], 'a new key pair to openssl', ({ openssl }) => {
  const run = (...options: string[]) =>
    execFileSync(openssl, options, { cwd: directory, encoding: 'utf8', stdio: 'pipe' });

  async function newFacts(): Promise<string[]> {
    await generate({ force: true });
    return run('x509', '-in', 'cert.pem', '-noout', '-serial', '-modulus').split('\n');
  }

  test('is a certificate for module signing, and nothing else', async () => {
    const { fingerprint } = await generate({
      organization: 'Äcme',
      days: 100,
      certificateDer: at('cert.der'),
    });
    const text = run(
      'x509',
      '-in',
      'cert.pem',
      '-noout',
      '-text',
      '-nameopt',
      'utf8',
      '-certopt',
      'ext_parse',
    );
    expect(text).toContain('Version: 3');
    expect(text).toContain('Subject: O=Äcme, CN=Acme modules');
    expect(text).toMatch(/X509v3 Basic Constraints: critical\s+CA:FALSE/);
    expect(text).toMatch(/X509v3 Key Usage: critical\s+Digital Signature\n/);
    expect(text).toMatch(/X509v3 Extended Key Usage: *\s+Code Signing, 1\.3\.6\.1\.4\.1\.2312\.16\.1\.2\n/);
    const [, subjectKey] = /Subject Key Identifier: *\s+([0-9A-F:]{59})\n/.exec(text) ?? [];
    const [, authorityKey] = /Authority Key Identifier: *\s+(?:keyid:)?([0-9A-F:]{59})\n/.exec(text) ?? [];
    expect(subjectKey).toBeDefined();
    expect(authorityKey).toBe(subjectKey);
    const printed = run('x509', '-inform', 'DER', '-in', 'cert.der', '-noout', '-fingerprint', '-sha256');
    expect(printed.replaceAll(':', '').toLowerCase()).toContain(fingerprint);
  });

  test('verifies, strictly', async () => {
    await generate();
    expect(run('verify', '-x509_strict', '-check_ss_sig', '-CAfile', 'cert.pem', 'cert.pem')).toBe(
      'cert.pem: OK\n',
    );
    expect(run('pkey', '-in', 'key', '-noout', '-check')).toContain('Key is valid');
  });

  test.each([
    [1, 'UTCTIME'],
    [36_500, 'GENERALIZEDTIME'],
  ])('is valid for %i days', async (days, type) => {
    await generate({ days });
    expect(run('asn1parse', '-in', 'cert.pem')).toContain(type);
    const dates = run('x509', '-in', 'cert.pem', '-noout', '-dates');
    const [from = 0, to = 0] = [...dates.matchAll(/=(.*)/g)].map(([, date]) => Date.parse(date ?? ''));
    expect((to - from) / 86_400_000).toBe(days);
  });

  test('has a new serial number and key each time', async () => {
    const [first, second] = [await newFacts(), await newFacts()];
    expect(first?.[0]).not.toBe(second?.[0]);
    expect(first?.[1]).not.toBe(second?.[1]);
  });
});

describe('the files of a new key pair', () => {
  test('hold a key that only its owner can read, and load as a signer without warnings', async () => {
    await generate();
    expect(statSync(at('key')).mode & 0o777).toBe(0o600);
    const signer = await loadSigner({ key: at('key'), certificate: at('cert.pem'), env: {} });
    expect(signer.warnings).toEqual([]);
  });

  test('hold an encrypted key when there is a passphrase', async () => {
    await generate({ passphrase: new Secret('geheim') });
    const pem = readFileSync(at('key'), 'utf8');
    expect(pem).toContain('BEGIN ENCRYPTED PRIVATE KEY');
    expect(createPrivateKey({ key: pem, passphrase: 'geheim' }).asymmetricKeyDetails?.modulusLength).toBe(
      2048,
    );
  });

  test.each(['key', 'cert.pem', 'cert.der'])('never replace one that is there: %s', async (name) => {
    writeFileSync(at(name), 'precious');
    const attempt = generate({ certificateDer: at('cert.der') });
    await expect(attempt).rejects.toMatchObject({
      code: 'FILE_ERROR',
      facts: { path: at(name), reason: 'EEXIST' },
    });
    expect(readFileSync(at(name), 'utf8')).toBe('precious');
    expect(['key', 'cert.pem', 'cert.der'].filter((file) => existsSync(at(file)))).toEqual([name]);
  });

  test('replace those that are there when forced, and make the key private', async () => {
    writeFileSync(at('key'), 'old', { mode: 0o644 });
    await generate({ force: true });
    expect(readFileSync(at('key'), 'utf8')).toContain('PRIVATE KEY');
    expect(statSync(at('key')).mode & 0o777).toBe(0o600);
  });

  test.each<[string, Partial<GenerateKeyPairOptions>, string]>([
    ['a length that kernels do not take', { bits: 8192 }, 'INVALID_KEY'],
    ['an empty name', { commonName: ' ' }, 'INVALID_CERTIFICATE'],
    ['a name of two lines', { commonName: 'a\nb' }, 'INVALID_CERTIFICATE'],
    ['a name that is too long', { organization: 'x'.repeat(65) }, 'INVALID_CERTIFICATE'],
    ['no day', { days: 0 }, 'INVALID_CERTIFICATE'],
    ['a folder that is missing', { key: '/nowhere/key' }, 'FILE_ERROR'],
  ])('are not written for %s', async (_, options, code) => {
    await expect(generate(options)).rejects.toMatchObject({ code });
    expect(existsSync(at('key')) || existsSync(at('cert.pem'))).toBe(false);
  });
});
