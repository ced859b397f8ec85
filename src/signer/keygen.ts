import { generateKeyPair as generateKeys, type KeyObject, X509Certificate } from 'node:crypto';
import { access } from 'node:fs/promises';
import { promisify } from 'node:util';
import type { Secret } from '../shared/secret.ts';
import { SignerError } from './model/errors.ts';
import { certificateFingerprint } from './cms/certificates.ts';
import { fileError, writeFilesAtomically, type NewFile } from './files/write-file.ts';
import { der, derObjectIdentifier, derTag } from './cms/der.ts';
import {
  encodeCertificate,
  extensionIdentifier,
  type CertificateExtension,
  type CertificateName,
} from './cms/encode-certificate.ts';

export interface GenerateKeyPairOptions {
  /** Common name of the certificate, up to 64 characters. */
  readonly commonName: string;
  readonly organization?: string | undefined;
  /** Length of the RSA modulus in bits: 2048, 3072 or 4096, which kernels accept. @default 4096 */
  readonly bits?: number | undefined;
  /** Days that the certificate is valid; kernels do not check this. @default 3650 */
  readonly days?: number | undefined;
  /** Output path of the key: PEM, PKCS #8, mode 0600. */
  readonly key: string;
  /** Output path of the certificate in PEM. */
  readonly certificate: string;
  /** Output path of the certificate in DER, the form that mokutil accepts. */
  readonly certificateDer?: string | undefined;
  /** Encrypts the key. */
  readonly passphrase?: Secret<string> | undefined;
  /** Replace existing files. @default false */
  readonly force?: boolean | undefined;
}

export interface GeneratedKeyPair {
  /** SHA-256 of the certificate's DER. */
  readonly fingerprint: string;
  readonly certificate: X509Certificate;
}

const allowedBits = [2048, 3072, 4096];
const day = 24 * 60 * 60 * 1000;
/** X.520 limits the length of a common name. */
const maxNameLength = 64;

const codeSigning = '1.3.6.1.5.5.7.3.3';
/** Tells shim that the key is for kernel modules only, so it cannot boot anything. */
const moduleSigningOnly = '1.3.6.1.4.1.2312.16.1.2';

const extensions: readonly CertificateExtension[] = [
  // CA:FALSE is the default, and DER omits defaults.
  { identifier: extensionIdentifier.basicConstraints, critical: true, value: der(derTag.sequence) },
  {
    identifier: extensionIdentifier.keyUsage,
    critical: true,
    value: der(derTag.bitString, Buffer.from([7, 0x80])),
  },
  {
    identifier: extensionIdentifier.extendedKeyUsage,
    value: der(derTag.sequence, derObjectIdentifier(codeSigning), derObjectIdentifier(moduleSigningOnly)),
  },
];

/**
 * Generates a key and a self-signed certificate that can be enrolled as a Machine Owner Key.
 * @throws SignerError INVALID_KEY for a length that kernels do not accept, INVALID_CERTIFICATE for a name or
 * validity that no certificate can hold, FILE_ERROR
 */
export async function generateKeyPair(options: GenerateKeyPairOptions): Promise<GeneratedKeyPair> {
  const { commonName, organization, bits = 4096, days = 3650, force = false } = options;
  checkOptions(commonName, organization, bits, days);
  const paths = [options.key, options.certificate, options.certificateDer].filter(
    (path) => path !== undefined,
  );
  if (!force) await Promise.all(paths.map(refuseExisting));
  const { privateKey } = await promisify(generateKeys)('rsa', { modulusLength: bits });
  const certificate = new X509Certificate(encodeSelfSigned(privateKey, { commonName, organization }, days));
  const encryption = options.passphrase && { cipher: 'aes-256-cbc', passphrase: options.passphrase.reveal() };
  const key = privateKey.export({ format: 'pem', type: 'pkcs8', ...encryption });
  const files: NewFile[] = [
    { path: options.key, contents: [Buffer.from(key)], mode: 0o600 },
    { path: options.certificate, contents: [Buffer.from(certificate.toString())], mode: 0o644 },
  ];
  if (options.certificateDer !== undefined) {
    files.push({ path: options.certificateDer, contents: [certificate.raw], mode: 0o644 });
  }
  await writeFilesAtomically(files, { overwrite: force });
  return { fingerprint: certificateFingerprint(certificate), certificate };
}

function checkOptions(
  commonName: string,
  organization: string | undefined,
  bits: number,
  days: number,
): void {
  if (!allowedBits.includes(bits)) {
    throw new SignerError({
      code: 'INVALID_KEY',
      message: `Kernels do not accept an RSA key of ${bits} bits for modules`,
      hint: `Use ${allowedBits.join(', ')} bits.`,
    });
  }
  for (const name of [commonName, organization ?? commonName]) {
    if (name.trim() === '' || name.length > maxNameLength || /\p{Cc}/u.test(name)) {
      throw new SignerError({
        code: 'INVALID_CERTIFICATE',
        message: `A name in a certificate has 1 to ${maxNameLength} printable characters`,
        hint: 'Choose another common name or organization.',
      });
    }
  }
  // 36500 days keep the year within four digits.
  if (!Number.isInteger(days) || days < 1 || days > 36_500) {
    throw new SignerError({
      code: 'INVALID_CERTIFICATE',
      message: `A certificate cannot be valid for ${days} days`,
      hint: 'Choose a whole number from 1 to 36500.',
    });
  }
}

async function refuseExisting(path: string): Promise<void> {
  try {
    await access(path);
  } catch {
    return;
  }
  throw fileError('written', path, Object.assign(new Error('exists'), { code: 'EEXIST' }));
}

/** Encodes a self-signed certificate that is suitable as a Machine Owner Key (RFC 5280), in DER. */
function encodeSelfSigned(privateKey: KeyObject, name: CertificateName, days: number): Buffer {
  const notBefore = new Date();
  const notAfter = new Date(notBefore.getTime() + days * day);
  return encodeCertificate(
    { subject: name, issuer: name, subjectKey: privateKey, notBefore, notAfter, extensions },
    privateKey,
  );
}
