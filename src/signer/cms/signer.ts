import type { X509Certificate } from 'node:crypto';
import type { HashAlgorithm } from '../model/module.ts';
import { certificateFields } from './certificates.ts';

/** How the CMS identifies its signer: sign-file's default, or its `-k`. */
export type SignerIdentifierForm = 'issuer-and-serial' | 'key-identifier';

/** Signs digests. Backed by files today; PKCS#11, a KMS or an external program fit the same interface. */
export interface SigningKey {
  readonly algorithm: 'rsa' | 'ecdsa';
  /** RSA: length of the modulus in bits. ECDSA: length of the field in bits. */
  readonly bits: number;
  /**
   * Signs a message digest: RSA PKCS#1 v1.5 with DigestInfo, or ECDSA as a DER SEQUENCE of r and s. The key
   * sees only the digest.
   */
  signDigest(hash: HashAlgorithm, digest: Buffer): Promise<Buffer>;
  /** Signs the bytes themselves, for keys that can hash and sign in one step off the main thread. */
  signContent?(hash: HashAlgorithm, content: Buffer): Promise<Buffer>;
}

/** A key and its certificate, checked to match. */
export interface Signer {
  readonly key: SigningKey;
  readonly certificate: X509Certificate;
  /** SHA-256 over the certificate's DER, lower-case hexadecimal without colons. */
  readonly fingerprint: string;
  /** Reasons why a kernel might not accept the pair, as sentences. */
  readonly warnings: readonly string[];
}

/** How modules are signed: with which key, over which digest, and how the CMS identifies the signer. */
export interface SignatureMethod {
  readonly signer: Signer;
  readonly hash: HashAlgorithm;
  readonly identifierForm: SignerIdentifierForm;
}

/** Returns reasons why a kernel might not accept a key and its certificate, as sentences. */
export function signerWarnings(
  key: SigningKey,
  certificate: X509Certificate,
  now: Date = new Date(),
): string[] {
  return [...keyWarnings(key), ...certificateWarnings(certificate, now)];
}

/** Returns reasons why a kernel might not accept a key with a digest algorithm, as sentences. */
export function hashWarnings(key: SigningKey, hash: HashAlgorithm): string[] {
  if (hash === 'sha1')
    return ['Kernels refuse or stop supporting sha1 for modules; sha256 is safe everywhere.'];
  if (key.algorithm === 'ecdsa' && (hash === 'sha224' || hash === 'sha256')) {
    return [`Kernels require a digest of at least 384 bits with an ECDSA key; ${hash} is shorter.`];
  }
  return [];
}

function keyWarnings({ algorithm, bits }: SigningKey): string[] {
  if (algorithm === 'ecdsa') {
    return [
      'Not all kernels are built to accept ECDSA for modules (Debian 12 and RHEL 8 are not); RSA is safe everywhere.',
    ];
  }
  if (bits < 2048)
    return [`The RSA key has ${bits} bits, which is weak; firmware and distributions expect at least 2048.`];
  return [];
}

function certificateWarnings(certificate: X509Certificate, now: Date): string[] {
  const warnings: string[] = [];
  const { keyUsage } = certificateFields(certificate);
  if (keyUsage !== null && !keyUsage.includes('digitalSignature')) {
    warnings.push(
      "The certificate's key usage does not include digitalSignature; some kernels may not accept it.",
    );
  }
  if (now < certificate.validFromDate) {
    warnings.push(
      `The certificate is not valid before ${certificate.validFromDate.toISOString()}; kernels do not check this.`,
    );
  }
  if (now > certificate.validToDate) {
    warnings.push(
      `The certificate expired on ${certificate.validToDate.toISOString()}; kernels do not check this.`,
    );
  }
  return warnings;
}
