import type { X509Certificate } from 'node:crypto';
import type { HashAlgorithm } from '../model/hash.ts';

/** How the CMS names its signer: sign-file's default, or its `-k`. */
export type SignerIdentifierForm = 'issuer-and-serial' | 'key-identifier';

/** Something that signs digests. Files today; PKCS#11, KMS or an external program fit behind the same face. */
export interface SigningKey {
  readonly algorithm: 'rsa' | 'ecdsa';
  /** RSA: length of the modulus in bits. ECDSA: length of the field in bits. */
  readonly bits: number;
  /**
   * Signs a message digest: RSA PKCS#1 v1.5 with DigestInfo, or ECDSA as a DER SEQUENCE of r and s.
   * The key sees only the digest.
   */
  signDigest(hash: HashAlgorithm, digest: Buffer): Promise<Buffer>;
  /** The same for the bytes themselves, where a key can hash and sign in one go beside the main thread. */
  signContent?(hash: HashAlgorithm, content: Buffer): Promise<Buffer>;
}

/** A key with the certificate that belongs to it, checked to be a pair. */
export interface Signer {
  readonly key: SigningKey;
  readonly certificate: X509Certificate;
  /** SHA-256 over the certificate's DER, lower-case hexadecimal without colons. */
  readonly fingerprint: string;
  /** What a kernel may not accept about the pair, in sentences. */
  readonly warnings: readonly string[];
}
