import { constants, type KeyObject, publicDecrypt } from 'node:crypto';
import { type HashAlgorithm, hashAlgorithms } from '../hash.ts';
import { digestInfo, digestInfoWithoutParameters } from './algorithms.ts';

/** Whether a name is a digest algorithm that can be checked here. */
export function isHashAlgorithm(name: string): name is HashAlgorithm {
  return hashAlgorithms.some((known) => known === name);
}

/** Whether `signature` is the key's signature over the digest: RSA PKCS #1 v1.5, or ECDSA in DER. */
export async function checkSignature(
  key: KeyObject,
  hash: HashAlgorithm,
  digest: Buffer,
  signature: Buffer,
): Promise<boolean> {
  if (key.asymmetricKeyType === 'rsa') return checkRsa(key, hash, digest, signature);
  if (key.asymmetricKeyType === 'ec') return checkEcdsa(key, digest, signature);
  return false;
}

function checkRsa(key: KeyObject, hash: HashAlgorithm, digest: Buffer, signature: Buffer): boolean {
  try {
    const signed = publicDecrypt({ key, padding: constants.RSA_PKCS1_PADDING }, signature);
    return (
      signed.equals(digestInfo(hash, digest)) || signed.equals(digestInfoWithoutParameters(hash, digest))
    );
  } catch {
    // The padding is wrong, or the length: not this key's signature.
    return false;
  }
}

async function checkEcdsa(key: KeyObject, digest: Buffer, signature: Buffer): Promise<boolean> {
  const { p256, p384, p521 } = await import('@noble/curves/nist.js');
  const curves = new Map([
    ['prime256v1', p256],
    ['secp384r1', p384],
    ['secp521r1', p521],
  ]);
  const curve = curves.get(key.asymmetricKeyDetails?.namedCurve ?? '');
  if (curve === undefined) return false;
  const { x = '', y = '' } = key.export({ format: 'jwk' });
  const point = Buffer.concat([Buffer.from([4]), Buffer.from(x, 'base64url'), Buffer.from(y, 'base64url')]);
  try {
    return curve.verify(signature, digest, point, { prehash: false, lowS: false, format: 'der' });
  } catch {
    return false;
  }
}
