import type { X509Certificate } from 'node:crypto';
import type { HashAlgorithm } from '../model/hash.ts';

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
