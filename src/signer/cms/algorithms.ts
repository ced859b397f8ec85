import type { HashAlgorithm } from '../model/module.ts';
import { der, DerError, derObjectIdentifier, derTag, readObjectIdentifier } from './der.ts';
import { SignatureRefusal } from '../model/errors.ts';

/** Object identifiers of RFC 5652 (CMS), RFC 8017 (PKCS #1), RFC 5754 and RFC 5758. */
export const oid = {
  data: '1.2.840.113549.1.7.1',
  signedData: '1.2.840.113549.1.7.2',
  /** Microsoft's Authenticode. */
  indirectData: '1.3.6.1.4.1.311.2.1.4',
  rsaEncryption: '1.2.840.113549.1.1.1',
  ecPublicKey: '1.2.840.10045.2.1',
} as const;

/** Kinds of keys that can sign modules. */
export type KeyAlgorithm = 'rsa' | 'ecdsa';

interface HashIdentifiers {
  readonly hash: string;
  /** The signature algorithm that names both hash and RSA; module signatures name rsaEncryption instead. */
  readonly rsa: string;
  readonly ecdsa: string;
}

const identifiers: Record<HashAlgorithm, HashIdentifiers> = {
  sha1: { hash: '1.3.14.3.2.26', rsa: '1.2.840.113549.1.1.5', ecdsa: '1.2.840.10045.4.1' },
  sha224: { hash: '2.16.840.1.101.3.4.2.4', rsa: '1.2.840.113549.1.1.14', ecdsa: '1.2.840.10045.4.3.1' },
  sha256: { hash: '2.16.840.1.101.3.4.2.1', rsa: '1.2.840.113549.1.1.11', ecdsa: '1.2.840.10045.4.3.2' },
  sha384: { hash: '2.16.840.1.101.3.4.2.2', rsa: '1.2.840.113549.1.1.12', ecdsa: '1.2.840.10045.4.3.3' },
  sha512: { hash: '2.16.840.1.101.3.4.2.3', rsa: '1.2.840.113549.1.1.13', ecdsa: '1.2.840.10045.4.3.4' },
};

/** Algorithms that only some kernels accept, each with the reason to refuse it for all. */
const disputed = new Map<string, string>([
  ['1.2.156.10197.1.401', 'SM3, which not every kernel supports'],
  ['1.2.156.10197.1.501', 'SM2, which not every kernel supports'],
  ['1.2.643.7.1.1.1.1', 'GOST R 34.10-2012, which not every kernel supports'],
  ['1.2.643.7.1.1.1.2', 'GOST R 34.10-2012, which not every kernel supports'],
  ['1.2.643.7.1.1.2.2', 'Streebog-256, which not every kernel supports'],
  ['1.2.643.7.1.1.2.3', 'Streebog-512, which not every kernel supports'],
  ['1.2.840.113549.2.4', 'MD4, which kernels from 6.7 on refuse'],
  ['1.2.840.113549.2.5', 'MD5, which kernels from 6.7 on refuse'],
  ['2.16.840.1.101.3.4.2.8', 'SHA3-256, which kernels before 6.7 refuse'],
  ['2.16.840.1.101.3.4.2.9', 'SHA3-384, which kernels before 6.7 refuse'],
  ['2.16.840.1.101.3.4.2.10', 'SHA3-512, which kernels before 6.7 refuse'],
  ['2.16.840.1.101.3.4.3.17', 'ML-DSA-44, which kernels before 7.0 refuse'],
  ['2.16.840.1.101.3.4.3.18', 'ML-DSA-65, which kernels before 7.0 refuse'],
  ['2.16.840.1.101.3.4.3.19', 'ML-DSA-87, which kernels before 7.0 refuse'],
]);

/** The algorithms of a certificate's signature. */
export interface CertificateSignature {
  readonly hash: HashAlgorithm;
  readonly key: KeyAlgorithm;
}

const hashNames = new Map<string, HashAlgorithm>();
const keyNames = new Map<string, KeyAlgorithm>([[oid.rsaEncryption, 'rsa']]);
const certificateSignatures = new Map<string, CertificateSignature>();
for (const name of ['sha1', 'sha224', 'sha256', 'sha384', 'sha512'] as const) {
  const { hash, rsa, ecdsa } = identifiers[name];
  hashNames.set(hash, name);
  keyNames.set(ecdsa, 'ecdsa');
  certificateSignatures.set(rsa, { hash: name, key: 'rsa' });
  certificateSignatures.set(ecdsa, { hash: name, key: 'ecdsa' });
}

/** Curves of the certificates that the kernel accepts. */
const curves = new Map<string, string>([
  ['1.2.840.10045.3.1.1', 'ecdsa-nist-p192'],
  ['1.2.840.10045.3.1.7', 'ecdsa-nist-p256'],
  ['1.3.132.0.34', 'ecdsa-nist-p384'],
  ['1.3.132.0.35', 'ecdsa-nist-p521'],
]);

/**
 * Returns the dotted form of an object identifier's contents. As in the kernel, an improperly encoded
 * identifier equals no other.
 */
export function identifierOf(content: Buffer): string {
  try {
    const dotted = readObjectIdentifier({ tag: derTag.objectIdentifier, content, bytes: content });
    if (derObjectIdentifier(dotted).subarray(2).equals(content)) return dotted;
  } catch (error) {
    if (!(error instanceof DerError)) throw error;
  }
  return `0x${content.toString('hex', 0, 64)}`;
}

/**
 * Returns the name of a signer's digest algorithm. @throws SignatureRefusal for one that the kernel's parser
 * does not accept
 */
export function digestAlgorithmOf(identifier: string): HashAlgorithm {
  return known(hashNames, identifier, 'digest algorithm');
}

/**
 * Returns the kind of key of a signer's signature algorithm; the parser does not accept those that name both
 * hash and RSA. @throws SignatureRefusal
 */
export function signatureAlgorithmOf(identifier: string): KeyAlgorithm {
  return known(keyNames, identifier, 'signature algorithm');
}

/** Returns the algorithms of a certificate's signature. @throws SignatureRefusal */
export function certificateSignatureOf(identifier: string): CertificateSignature {
  return known(certificateSignatures, identifier, 'algorithm of the signature of a certificate');
}

/** Returns a curve's name. @throws SignatureRefusal */
export function curveOf(identifier: string): string {
  return known(curves, identifier, 'curve of a certificate');
}

function known<T>(names: ReadonlyMap<string, T>, identifier: string, what: string): T {
  const found = names.get(identifier);
  if (found !== undefined) return found;
  throw new SignatureRefusal('ENOPKG', `with the ${what} ${disputed.get(identifier) ?? identifier}`);
}

const derNull = der(derTag.null);

/** Encodes a hash's AlgorithmIdentifier for CMS: without parameters (RFC 5754 section 2). */
export function hashAlgorithmIdentifier(hash: HashAlgorithm): Buffer {
  return der(derTag.sequence, derObjectIdentifier(identifiers[hash].hash));
}

/** A SignerInfo's AlgorithmIdentifier: rsaEncryption with NULL, or ecdsa-with-HASH without parameters. */
export function signatureAlgorithmIdentifier(key: 'rsa' | 'ecdsa', hash: HashAlgorithm): Buffer {
  return key === 'rsa'
    ? der(derTag.sequence, derObjectIdentifier(oid.rsaEncryption), derNull)
    : der(derTag.sequence, derObjectIdentifier(identifiers[hash].ecdsa));
}

/** Encodes the AlgorithmIdentifier of a certificate's own signature, which names hash and key together. */
export function certificateSignatureAlgorithm(key: 'rsa' | 'ecdsa', hash: HashAlgorithm): Buffer {
  return key === 'rsa'
    ? der(derTag.sequence, derObjectIdentifier(identifiers[hash].rsa), derNull)
    : signatureAlgorithmIdentifier('ecdsa', hash);
}

/** Encodes the DigestInfo that RSA PKCS #1 v1.5 signs (RFC 8017 section 9.2); its parameters are NULL. */
export function digestInfo(hash: HashAlgorithm, digest: Uint8Array): Buffer {
  return der(
    derTag.sequence,
    der(derTag.sequence, derObjectIdentifier(identifiers[hash].hash), derNull),
    der(derTag.octetString, digest),
  );
}
