import type { X509Certificate } from 'node:crypto';
import { rsaKeyLength, rsaModulusLengths } from '../cms/check-signature.ts';
import { SignerError } from '../model/errors.ts';
import { certificateFingerprint, parseCertificates } from '../cms/certificates.ts';
import { createLocalKey, describeKey } from './local-key.ts';
import {
  type PassphraseProvider,
  passphraseFrom,
  readReference,
  type SecretReader,
  type ReferenceSources,
} from './reference.ts';
import type { KeyMaterial } from './pkcs12.ts';
import { parseKeyMaterial } from './private-key.ts';
import type { SignFileProgram } from './sign-file-program.ts';
import { type Signer, type SigningKey, signerWarnings } from '../cms/signer.ts';

export interface LoadSignerOptions {
  /** A path, `env://NAME` or `k8s://NAMESPACE/SECRET[/KEY]`. */
  readonly key: string;
  /**
   * The same forms; may be omitted if the key file also holds the certificate (PKCS #12, or PEM with both).
   */
  readonly certificate?: string | undefined;
  /** Called if the key is encrypted. @default KMM_SIGN_PASSWORD or KBUILD_SIGN_PIN of `env` */
  readonly passphrase?: PassphraseProvider | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** For `k8s://` references. */
  readonly readSecret?: SecretReader | undefined;
}

/**
 * Loads a key and its certificate and checks that they match.
 * @throws SignerError INVALID_KEY, INVALID_CERTIFICATE, WRONG_PASSPHRASE, KEY_CERTIFICATE_MISMATCH
 */
export async function loadSigner(options: LoadSignerOptions): Promise<Signer> {
  const passphrase = options.passphrase ?? passphraseFrom({ env: options.env });
  const bytes = await readReference(options.key, 'key', options);
  const material = await parseKeyMaterial(bytes, options.key, passphrase);
  const key = createLocalKey(material.privateKey, options.key);
  const certificate = await readCertificate(options, bytes, material);
  if (!certificate.checkPrivateKey(material.privateKey)) {
    throw new SignerError({
      code: 'KEY_CERTIFICATE_MISMATCH',
      message: `The key ${options.key} does not match the certificate ${options.certificate ?? 'in the same file'}`,
      hint: 'Give the private key that the certificate was issued for.',
      facts: { key: options.key, certificate: options.certificate },
    });
  }
  return signerOf(key, certificate);
}

async function readCertificate(
  options: LoadSignerOptions,
  keyFile: Buffer,
  material: KeyMaterial,
): Promise<X509Certificate> {
  if (options.certificate !== undefined) return (await loadCertificates(options.certificate, options))[0];
  return parseCertificates(material.certificate ?? withoutDer(keyFile), options.key)[0];
}

/**
 * Loads the certificate of a key that another program signs with, such as a key in a token. The returned
 * signer's own `signDigest` always fails. @throws SignerError INVALID_CERTIFICATE, INVALID_KEY
 */
export async function loadExternalSigner(
  signFile: SignFileProgram,
  sources: ReferenceSources,
): Promise<Signer> {
  const [certificate] = await loadCertificates(signFile.certificate, sources);
  const { algorithm, bits } = describeKey(certificate.publicKey, signFile.key);
  const key: SigningKey = {
    algorithm,
    bits,
    signDigest: () => Promise.reject(new Error(`${signFile.key} is used by ${signFile.program} only`)),
  };
  return signerOf(key, certificate);
}

function signerOf(key: SigningKey, certificate: X509Certificate): Signer {
  if (key.algorithm === 'rsa' && rsaKeyLength(key.bits) === null) {
    throw new SignerError({
      code: 'INVALID_KEY',
      message: `The RSA key has ${key.bits} bits, and kernels load certificates of ${rsaModulusLengths.join(', ')} bits only`,
      hint: 'Generate a key of 2048, 3072 or 4096 bits: kmm-sign keygen.',
      facts: { bits: key.bits },
    });
  }
  return {
    key,
    certificate,
    fingerprint: certificateFingerprint(certificate),
    warnings: signerWarnings(key, certificate),
  };
}

/** Drops a DER key, which cannot be a certificate too: only PEM can hold both. */
function withoutDer(keyFile: Buffer): Buffer {
  return keyFile[0] === 0x30 ? Buffer.alloc(0) : keyFile;
}

/**
 * Reads the certificates that a path, `env://` or `k8s://` reference names.
 * @throws SignerError INVALID_CERTIFICATE, LIMIT_EXCEEDED
 */
export async function loadCertificates(
  reference: string,
  sources: ReferenceSources = { env: {} },
): Promise<[X509Certificate, ...X509Certificate[]]> {
  return parseCertificates(await readReference(reference, 'certificate', sources), reference);
}
