import type { HashAlgorithm } from '../hash.ts';
import { der, derObjectIdentifier, derTag } from './der.ts';

/** Object identifiers of RFC 5652 (CMS), RFC 8017 (PKCS #1), RFC 5754 and RFC 5758. */
export const oid = {
  data: '1.2.840.113549.1.7.1',
  signedData: '1.2.840.113549.1.7.2',
  rsaEncryption: '1.2.840.113549.1.1.1',
  ecPublicKey: '1.2.840.10045.2.1',
} as const;

interface HashIdentifiers {
  readonly hash: string;
  /** The signature algorithm that names hash and RSA together; module signatures name rsaEncryption instead. */
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

const hashNames = new Map<string, HashAlgorithm>();
const keyNames = new Map<string, 'rsa' | 'ecdsa'>([
  [oid.rsaEncryption, 'rsa'],
  [oid.ecPublicKey, 'ecdsa'],
]);
for (const name of ['sha1', 'sha224', 'sha256', 'sha384', 'sha512'] as const) {
  const { hash, rsa, ecdsa } = identifiers[name];
  hashNames.set(hash, name);
  keyNames.set(rsa, 'rsa');
  keyNames.set(ecdsa, 'ecdsa');
}

/** The hash algorithm that an object identifier names, if it is one of ours. */
export function hashOf(identifier: string): HashAlgorithm | undefined {
  return hashNames.get(identifier);
}

/** The kind of key that a signature algorithm's object identifier names, if it is one of ours. */
export function keyAlgorithmOf(identifier: string): 'rsa' | 'ecdsa' | undefined {
  return keyNames.get(identifier);
}

const derNull = der(derTag.null);

/** AlgorithmIdentifier of a hash as CMS has it: without parameters (RFC 5754 section 2). */
export function hashAlgorithmIdentifier(hash: HashAlgorithm): Buffer {
  return der(derTag.sequence, derObjectIdentifier(identifiers[hash].hash));
}

/** AlgorithmIdentifier in a SignerInfo: rsaEncryption with NULL, or ecdsa-with-HASH without parameters. */
export function signatureAlgorithmIdentifier(key: 'rsa' | 'ecdsa', hash: HashAlgorithm): Buffer {
  return key === 'rsa'
    ? der(derTag.sequence, derObjectIdentifier(oid.rsaEncryption), derNull)
    : der(derTag.sequence, derObjectIdentifier(identifiers[hash].ecdsa));
}

/** AlgorithmIdentifier of a certificate's own signature, which names hash and key together. */
export function certificateSignatureAlgorithm(key: 'rsa' | 'ecdsa', hash: HashAlgorithm): Buffer {
  return key === 'rsa'
    ? der(derTag.sequence, derObjectIdentifier(identifiers[hash].rsa), derNull)
    : signatureAlgorithmIdentifier('ecdsa', hash);
}

/** The DigestInfo that RSA PKCS #1 v1.5 signs (RFC 8017 section 9.2); its parameters are NULL. */
export function digestInfo(hash: HashAlgorithm, digest: Uint8Array): Buffer {
  return der(
    derTag.sequence,
    der(derTag.sequence, derObjectIdentifier(identifiers[hash].hash), derNull),
    der(derTag.octetString, digest),
  );
}

/** The other DigestInfo that verifiers accept: parameters absent. */
export function digestInfoWithoutParameters(hash: HashAlgorithm, digest: Uint8Array): Buffer {
  return der(derTag.sequence, hashAlgorithmIdentifier(hash), der(derTag.octetString, digest));
}
