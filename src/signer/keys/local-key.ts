import { constants, type KeyObject, privateEncrypt, sign } from 'node:crypto';
import { promisify } from 'node:util';
import { digestInfo } from '../cms/algorithms.ts';
import { SignerError } from '../model/errors.ts';
import type { SigningKey } from '../cms/signer.ts';

const curveBits: Readonly<Record<string, number>> = { prime256v1: 256, secp384r1: 384 };

/**
 * Returns the algorithm of a private or public key, and its length as kernels count it. `name` is used in
 * messages.
 * @throws SignerError INVALID_KEY for a key that no kernel accepts
 */
export function describeKey(key: KeyObject, name: string): Pick<SigningKey, 'algorithm' | 'bits'> {
  const { modulusLength = 0, namedCurve } = key.asymmetricKeyDetails ?? {};
  if (key.asymmetricKeyType === 'rsa') return { algorithm: 'rsa', bits: modulusLength };
  if (key.asymmetricKeyType === 'ec') {
    const bits = curveBits[namedCurve ?? ''];
    if (bits !== undefined) return { algorithm: 'ecdsa', bits };
    throw unsupported(name, `an elliptic curve key on ${namedCurve ?? 'an unnamed curve'}`);
  }
  throw unsupported(name, `of the type ${key.asymmetricKeyType ?? 'unknown'}`);
}

/** Creates a signing key from a private key in memory. @throws SignerError INVALID_KEY */
export function createLocalKey(privateKey: KeyObject, name: string): SigningKey {
  const { algorithm, bits } = describeKey(privateKey, name);
  return algorithm === 'rsa' ? createRsaKey(privateKey, bits) : createEcdsaKey(privateKey, bits);
}

const signOnPool = promisify<string, Buffer, KeyObject, Buffer>(sign);

function createRsaKey(privateKey: KeyObject, bits: number): SigningKey {
  return {
    algorithm: 'rsa',
    bits,
    signDigest: (hash, digest) =>
      Promise.resolve().then(() => signDigestInfo(privateKey, digestInfo(hash, digest))),
    signContent: (hash, content) => signOnPool(hash, content, privateKey),
  };
}

/** Signs a prepared DigestInfo with PKCS #1 v1.5, which node:crypto can do only on the main thread. */
function signDigestInfo(key: KeyObject, input: Buffer): Buffer {
  try {
    return privateEncrypt({ key, padding: constants.RSA_PKCS1_PADDING }, input);
  } catch {
    throw new SignerError({
      code: 'INVALID_KEY',
      message: 'The RSA key cannot sign a digest of this length',
      hint: 'Use an RSA key of 2048 to 4096 bits.',
    });
  }
}

function createEcdsaKey(privateKey: KeyObject, bits: number): SigningKey {
  return {
    algorithm: 'ecdsa',
    bits,
    async signDigest(_hash, digest) {
      // node:crypto signs only what it has hashed itself. Noble also signs deterministically (RFC 6979).
      const { p256, p384 } = await import('@noble/curves/nist.js');
      const curve = bits === 256 ? p256 : p384;
      const scalar = Buffer.from(privateKey.export({ format: 'jwk' }).d ?? '', 'base64url');
      return Buffer.from(curve.sign(digest, scalar, { prehash: false, lowS: false, format: 'der' }));
    },
  };
}

function unsupported(name: string, what: string): SignerError {
  return new SignerError({
    code: 'INVALID_KEY',
    message: `The key ${name} is ${what}, which no kernel accepts for modules`,
    hint: 'Use RSA with 2048 to 4096 bits, which every kernel accepts.',
  });
}
