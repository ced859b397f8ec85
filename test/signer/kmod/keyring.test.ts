import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parseCertificate } from '../../../src/signer/cms/parse-certificate.ts';
import { Keyring } from '../../../src/signer/kmod/keyring.ts';
import { describeWith } from '../../support/programs.ts';

describeWith(['openssl'], 'two certificates of one serial number and issuer', ({ openssl }) => {
  let directory: string;
  let certificates: X509Certificate[];
  let keyring: Keyring;

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'kmm-sign-test-'));
    certificates = ['a', 'b'].map((name) => {
      const request = [
        'req',
        '-x509',
        '-newkey',
        'rsa:2048',
        '-nodes',
        '-subj',
        '/CN=twin',
        '-set_serial',
        '1',
      ];
      const files = ['-keyout', `${name}.key`, '-out', `${name}.pem`];
      execFileSync(openssl, [...request, ...files], { cwd: directory, stdio: 'pipe' });
      return new X509Certificate(readFileSync(join(directory, `${name}.pem`)));
    });
    keyring = await Keyring.load(certificates, { ecdsa: true });
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  const parsed = (at: number) => parseCertificate(certificates[at]?.raw ?? Buffer.alloc(0));
  const found = (id: Buffer | null, keyIdentifier: Buffer | null) =>
    keyring.find(id, keyIdentifier).map(({ certificate }) => certificate);

  test('are both found by that, and one of them by its key identifier', () => {
    expect(found(parsed(0).id, null)).toEqual(certificates);
    expect(found(null, parsed(1).subjectKeyIdentifier)).toEqual([certificates[1]]);
  });

  test('are refused where a key identifier is asked for too, which only one of them has', () => {
    for (const at of [0, 1]) {
      expect(() => found(parsed(at).id, parsed(at).subjectKeyIdentifier)).toThrow(
        expect.objectContaining({ code: 'EKEYREJECTED' }),
      );
    }
  });

  test('do not concern each other when only one is trusted', async () => {
    const [trusted] = (await Keyring.load(certificates.slice(0, 1), { ecdsa: true })).find(
      parsed(0).id,
      parsed(0).subjectKeyIdentifier,
    );
    expect(trusted?.certificate).toBe(certificates[0]);
  });
});
