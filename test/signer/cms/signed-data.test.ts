import { execFileSync } from 'node:child_process';
import { createHash, X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { certificateFields, formatDistinguishedName } from '../../../src/signer/cms/certificates.ts';
import {
  der,
  DerError,
  derChildren,
  derObjectIdentifier,
  derUnsignedInteger,
  readDer,
  readObjectIdentifier,
} from '../../../src/signer/cms/der.ts';
import { parseSignedData } from '../../../src/signer/cms/parse-signed-data.ts';
import { SignatureRefusal } from '../../../src/signer/model/errors.ts';
import type { HashAlgorithm } from '../../../src/signer/model/module.ts';
import { loadSigner } from '../../../src/signer/keys/load-signer.ts';
import type { Signer, SignerIdentifierForm } from '../../../src/signer/cms/signer.ts';
import { createDetachedSignature } from '../../../src/signer/kmod/sign-module.ts';
import { describeWith } from '../../support/programs.ts';

/** A parser of hostile bytes may refuse them, in its own way; anything else is thrown on. */
function outcome(parse: () => void): 'read' | 'refused' {
  try {
    parse();
    return 'read';
  } catch (error) {
    if (error instanceof DerError || error instanceof SignatureRefusal) return 'refused';
    throw error;
  }
}

describeWith(['openssl'], 'a CMS', ({ openssl }) => {
  let directory: string;
  const module = Buffer.from('the bytes of a module');
  const run = (...options: string[]) => execFileSync(openssl, options, { cwd: directory, stdio: 'pipe' });
  const newKey: Record<string, string[]> = {
    rsa: ['-newkey', 'rsa:2048'],
    'P-256': ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256'],
    'P-384': ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-384'],
  };
  const signers = new Map<string, Signer>();

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'kmm-sign-test-'));
    writeFileSync(join(directory, 'module'), module);
    for (const [name, options] of Object.entries(newKey)) {
      const files = { key: join(directory, `${name}.key`), certificate: join(directory, `${name}.pem`) };
      run(
        'req',
        '-x509',
        ...options,
        '-nodes',
        '-subj',
        `/O=Acme/CN=${name}`,
        '-keyout',
        files.key,
        '-out',
        files.certificate,
      );
      signers.set(name, await loadSigner({ ...files, env: {} }));
    }
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  async function sign(
    name: string,
    hash: HashAlgorithm,
    identifierForm: SignerIdentifierForm,
  ): Promise<Buffer> {
    const signer = signers.get(name);
    if (signer === undefined) throw new Error(`no signer ${name}`);
    const digest = createHash(hash).update(module).digest();
    return createDetachedSignature({ signer, hash, identifierForm }, { digest });
  }

  const verify = (name: string, cms: Buffer, content = 'module') => {
    writeFileSync(join(directory, 'signature'), cms);
    const trust = ['-certfile', `${name}.pem`, '-CAfile', `${name}.pem`, '-purpose', 'any', '-nointern'];
    return run(
      'cms',
      '-verify',
      '-binary',
      '-inform',
      'DER',
      '-in',
      'signature',
      '-content',
      content,
      ...trust,
      '-out',
      'verified',
    );
  };

  describe.each(Object.keys(newKey))('by %s', (name) => {
    describe.each<HashAlgorithm>(['sha256', 'sha384', 'sha512', 'sha224', 'sha1'])('with %s', (hash) => {
      test.each<SignerIdentifierForm>(['issuer-and-serial', 'key-identifier'])(
        'is right to openssl: %s',
        async (form) => {
          const cms = await sign(name, hash, form);
          verify(name, cms);
          expect(readFileSync(join(directory, 'verified')).equals(module)).toBe(true);
          const { signers: infos, hasContent, certificates } = parseSignedData(cms);
          expect({ hasContent, certificates }).toEqual({ hasContent: false, certificates: [] });
          const keyAlgorithm = name === 'rsa' ? 'rsa' : 'ecdsa';
          expect(infos).toMatchObject([
            { hash, keyAlgorithm, hasSignedAttributes: false, identifier: { form } },
          ]);
        },
      );
    });

    test('of other bytes is wrong to openssl', async () => {
      const cms = await sign(name, 'sha384', 'issuer-and-serial');
      writeFileSync(join(directory, 'other'), 'other bytes');
      expect(() => verify(name, cms, 'other')).toThrow('Command failed');
    });
  });

  test('by openssl itself is read: several signers, certificates, attributes, content', () => {
    const both = ['-signer', 'rsa.pem', '-inkey', 'rsa.key', '-signer', 'P-384.pem', '-inkey', 'P-384.key'];
    run(
      'cms',
      '-sign',
      '-binary',
      '-nodetach',
      '-nosmimecap',
      '-md',
      'sha384',
      '-in',
      'module',
      '-outform',
      'DER',
      '-out',
      'big',
      ...both,
    );
    const parsed = parseSignedData(readFileSync(join(directory, 'big')));
    expect(parsed.hasContent).toBe(true);
    expect(parsed.certificates).toHaveLength(2);
    expect(parsed.signers.map(({ keyAlgorithm }) => keyAlgorithm).toSorted()).toEqual(['ecdsa', 'rsa']);
    expect(parsed.signers.every(({ hasSignedAttributes }) => hasSignedAttributes)).toBe(true);
  });

  test('names of certificates come as openssl prints them', () => {
    const subject = '/C=DE/ST=Bayern/O=Äcme/OU=Kernel/CN=signing (more)/emailAddress=a@b.example';
    run(
      'req',
      '-x509',
      '-key',
      'rsa.key',
      '-utf8',
      '-subj',
      subject,
      '-out',
      'name.pem',
      '-addext',
      'keyUsage=keyAgreement,digitalSignature',
    );
    const certificate = new X509Certificate(readFileSync(join(directory, 'name.pem')));
    const { issuer, subjectKeyIdentifier, keyUsage, serialNumber } = certificateFields(certificate);
    expect(formatDistinguishedName(issuer)).toBe(
      'C=DE, ST=Bayern, O=Äcme, OU=Kernel, CN=signing (more), emailAddress=a@b.example',
    );
    expect(keyUsage).toEqual(['digitalSignature', 'keyAgreement']);
    expect(readDer(serialNumber).content.toString('hex').toUpperCase()).toBe(certificate.serialNumber);
    const printed = run('x509', '-in', 'name.pem', '-noout', '-ext', 'subjectKeyIdentifier').toString();
    expect(printed.replaceAll(':', '').toLowerCase()).toContain(subjectKeyIdentifier?.toString('hex'));
  });

  test('with any bytes changed, cut or added is parsed or refused, and nothing else', async () => {
    const cms = await sign('rsa', 'sha256', 'issuer-and-serial');
    const edits = fc.array(fc.record({ at: fc.nat(cms.length - 1), value: fc.nat(255) }), {
      minLength: 1,
      maxLength: 4,
    });
    fc.assert(
      fc.property(edits, fc.nat(cms.length), fc.uint8Array({ maxLength: 3 }), (changes, cut, tail) => {
        const bytes = Buffer.concat([cms.subarray(0, cms.length - (cut % 7)), tail]);
        for (const { at, value } of changes) if (at < bytes.length) bytes[at] = value;
        expect(['read', 'refused']).toContain(
          outcome(() => {
            for (const { identifier } of parseSignedData(bytes).signers) {
              if (identifier.form === 'issuer-and-serial')
                formatDistinguishedName(der(0x30, identifier.issuer));
            }
          }),
        );
      }),
      { numRuns: 3000 },
    );
  });

  test('cut short anywhere is refused', async () => {
    const cms = await sign('P-256', 'sha256', 'key-identifier');
    for (let length = 0; length < cms.length; length += 1) {
      expect(() => parseSignedData(cms.subarray(0, length))).toThrow(SignatureRefusal);
    }
  });

  test('with a control character in its name cannot move the cursor of a terminal', () => {
    run('req', '-x509', '-key', 'rsa.key', '-utf8', '-subj', '/CN=a\u001b[2Jb\u202ec', '-out', 'evil.pem');
    const certificate = new X509Certificate(readFileSync(join(directory, 'evil.pem')));
    expect(formatDistinguishedName(certificateFields(certificate).issuer)).toBe('CN=a\\x1b[2Jb\\u{202e}c');
  });
});

describe('DER', () => {
  test('of any bytes is read or refused, and nothing else', () => {
    const walk = (bytes: Buffer, depth: number): void => {
      const element = readDer(bytes);
      if (depth < 50 && (element.tag & 0x20) !== 0)
        for (const child of derChildren(element)) walk(child.bytes, depth + 1);
    };
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect(['read', 'refused']).toContain(outcome(() => walk(Buffer.from(bytes), 0)));
      }),
      { numRuns: 5000 },
    );
  });

  test('of elements comes back as it was written', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 70_000 }), { maxLength: 4 }), (parts) => {
        const written = der(0x30, ...parts.map((part) => der(0x04, part)));
        const read = derChildren(readDer(written)).map(({ content }) => Buffer.from(content));
        expect(read).toEqual(parts.map((part) => Buffer.from(part)));
      }),
      { numRuns: 100 },
    );
  });

  test.each([
    ['an indefinite length', '30800000'],
    ['a length that is too long', '308103020101'],
    ['a long form for a short length', '0481027878'],
    ['bytes after the end', '02010100'],
    ['contents that are missing', '0405ff'],
    ['a length of 5 octets', '04850000000001ff'],
    ['nothing', ''],
  ])('refuses %s', (_, hex) => {
    expect(() => readDer(Buffer.from(hex, 'hex'))).toThrow(DerError);
  });

  test.each([
    '1.2.840.113549.1.7.2',
    '2.16.840.1.101.3.4.2.1',
    '1.3.6.1.4.1.2312.16.1.2',
    '0.9.2342.19200300.100.1.25',
    '2.999.3',
  ])('object identifier %s comes back', (dotted) => {
    expect(readObjectIdentifier(readDer(derObjectIdentifier(dotted)))).toBe(dotted);
  });

  test.each([
    ['80', '02020080'],
    ['0000007f', '02017f'],
    ['00', '020100'],
    ['', '020100'],
  ])('the number 0x%s is positive and short', (hex, expected) => {
    expect(derUnsignedInteger(Buffer.from(hex, 'hex')).toString('hex')).toBe(expected);
  });
});
