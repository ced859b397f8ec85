import {
  type AsymmetricKeyDetails,
  constants,
  createHash,
  createPublicKey,
  type KeyObject,
  publicDecrypt,
} from 'node:crypto';
import type { HashAlgorithm } from '../model/module.ts';
import { digestInfo, type KeyAlgorithm } from './algorithms.ts';
import type { ParsedCertificate } from './parse-certificate.ts';
import { SignatureRefusal } from '../model/errors.ts';

/** A signature over bytes of which only the digest is needed. */
export interface SignatureOverDigest {
  readonly hash: HashAlgorithm;
  readonly keyAlgorithm: KeyAlgorithm;
  readonly digest: Buffer;
  readonly signature: Buffer;
}

/** Features that differ between kernels. */
export interface KernelFeatures {
  /** Built with CONFIG_CRYPTO_ECDSA, which does not exist before 5.14 and is off in Debian's 6.1. */
  readonly ecdsa: boolean;
}

/** Modulus lengths that the kernel accepts (crypto/rsa.c), in bits, rounded up to whole machine words. */
export const rsaModulusLengths: readonly number[] = [512, 1024, 1536, 2048, 3072, 4096];
const wordBits = 64;
/** RFC 8017 section 9.2 and the kernel require at least eight octets of padding. */
const minPadding = 8;

/**
 * Returns the octets of a modulus as the kernel counts them; null if it does not accept a key of that length.
 */
export function rsaKeyLength(modulusBits: number): number | null {
  const bits = Math.ceil(modulusBits / wordBits) * wordBits;
  return rsaModulusLengths.includes(bits) ? bits / 8 : null;
}

/**
 * Checks a signature as the kernel does: RSA PKCS #1 v1.5, or ECDSA in DER.
 * @throws SignatureRefusal if it does not verify
 */
export async function checkSignature(
  { publicKey, keyAlgorithm }: Pick<ParsedCertificate, 'publicKey' | 'keyAlgorithm'>,
  signature: SignatureOverDigest,
  { ecdsa }: KernelFeatures,
): Promise<void> {
  if (keyAlgorithm.split('-')[0] !== signature.keyAlgorithm) {
    throw new SignatureRefusal(
      'EKEYREJECTED',
      `of the kind ${signature.keyAlgorithm}, which does not match the certificate's key`,
    );
  }
  if (keyAlgorithm === 'rsa') return checkRsa(openKey(publicKey), signature);
  if (!ecdsa)
    throw new SignatureRefusal(
      'ENOENT',
      'with ECDSA, which only kernels built with CONFIG_CRYPTO_ECDSA support',
    );
  return checkEcdsa(openKey(publicKey), signature);
}

/** A public key, and its size or curve. */
interface OpenedKey {
  readonly key: KeyObject;
  readonly details: AsymmetricKeyDetails;
}

/** Keys that have been opened, by the bytes of their certificates: one certificate verifies many modules. */
const opened = new WeakMap<Buffer, OpenedKey>();

function openKey(publicKey: Buffer): OpenedKey {
  const known = opened.get(publicKey);
  if (known !== undefined) return known;
  try {
    const key = createPublicKey({ key: publicKey, format: 'der', type: 'spki' });
    const result = { key, details: key.asymmetricKeyDetails ?? {} };
    opened.set(publicKey, result);
    return result;
  } catch {
    throw new SignatureRefusal('EBADMSG', 'by a key that cannot be read');
  }
}

function checkRsa({ key, details }: OpenedKey, { hash, digest, signature }: SignatureOverDigest): void {
  const bits = details.modulusLength ?? 0;
  const length = rsaKeyLength(bits);
  if (length === null)
    throw new SignatureRefusal('EINVAL', `by an RSA key of ${bits} bits, which kernels do not accept`);
  if (signature.length !== length)
    throw new SignatureRefusal('EINVAL', 'whose length differs from that of its key');
  const signed = applyPublicKey(key, signature);
  if (signed[0] !== 0) throw mismatch('EINVAL');
  const padding = signed.indexOf(0, 1);
  const isPadded = signed[1] === 1 && signed.subarray(2, padding).every((octet) => octet === 0xff);
  if (padding < 2 + minPadding || !isPadded) throw mismatch('EBADMSG');
  const expected = digestInfo(hash, digest);
  const prefix = expected.subarray(0, expected.length - digest.length);
  const found = signed.subarray(padding + 1);
  if (!found.subarray(0, prefix.length).equals(prefix)) throw mismatch('EBADMSG');
  if (!found.equals(expected)) throw mismatch('EKEYREJECTED');
}

function applyPublicKey(key: KeyObject, signature: Buffer): Buffer {
  try {
    return publicDecrypt({ key, padding: constants.RSA_NO_PADDING }, signature);
  } catch {
    throw mismatch('EINVAL');
  }
}

async function checkEcdsa(
  { key, details }: OpenedKey,
  { digest, signature }: SignatureOverDigest,
): Promise<void> {
  const { p256, p384, p521 } = await import('@noble/curves/nist.js');
  const curves = new Map([
    ['prime256v1', p256],
    ['secp384r1', p384],
    ['secp521r1', p521],
  ]);
  const curve = curves.get(details.namedCurve ?? '');
  if (curve === undefined) throw new SignatureRefusal('ENOPKG', 'by a key on a curve that is not supported');
  const { x = '', y = '' } = key.export({ format: 'jwk' });
  const point = Buffer.concat([Buffer.from([4]), Buffer.from(x, 'base64url'), Buffer.from(y, 'base64url')]);
  try {
    if (curve.verify(signature, digest, point, { prehash: false, lowS: false, format: 'der' })) return;
  } catch {
    throw mismatch('EBADMSG');
  }
  throw mismatch('EKEYREJECTED');
}

function mismatch(code: 'EBADMSG' | 'EINVAL' | 'EKEYREJECTED'): SignatureRefusal {
  return new SignatureRefusal(
    code,
    'that does not match what it signs: the bytes were changed, or another key signed them',
  );
}

/**
 * Returns whether a certificate is self-signed, as the kernel decides when it reads one
 * (x509_check_for_self_signed); a certificate whose self-signature does not verify is refused.
 * @throws SignatureRefusal
 */
export async function isSelfSigned(
  certificate: ParsedCertificate,
  features: KernelFeatures,
): Promise<boolean> {
  const { id, subjectKeyIdentifier, authorityId, authorityKeyIdentifier } = certificate;
  if (!certificate.isSelfIssued) return false;
  if (authorityId !== null || authorityKeyIdentifier !== null) {
    const keyMatches = equalIdentifiers(subjectKeyIdentifier, authorityKeyIdentifier);
    const idMatches = equalIdentifiers(id, authorityId);
    if (!keyMatches && !idMatches) return false;
    if (keyMatches !== idMatches && authorityId !== null && authorityKeyIdentifier !== null)
      throw new SignatureRefusal('EKEYREJECTED', 'with a certificate that names its authority in two ways');
  }
  await checkIssued(certificate, certificate, features);
  return true;
}

/** Verifies a certificate's signature with its issuer's key. @throws SignatureRefusal */
export async function checkIssued(
  certificate: ParsedCertificate,
  issuer: Pick<ParsedCertificate, 'publicKey' | 'keyAlgorithm'>,
  features: KernelFeatures,
): Promise<void> {
  const { signedBy, signature, toBeSigned } = certificate;
  const digest = createHash(signedBy.hash).update(toBeSigned).digest();
  const over = { hash: signedBy.hash, keyAlgorithm: signedBy.key, digest, signature };
  try {
    await checkSignature(issuer, over, features);
  } catch (error) {
    if (!(error instanceof SignatureRefusal)) throw error;
    throw new SignatureRefusal(error.code, `with a certificate that has a signature ${error.message}`);
  }
}

/** Returns whether two identifiers are present and equal. */
export function equalIdentifiers(one: Buffer | null, other: Buffer | null): boolean {
  return one !== null && other !== null && one.equals(other);
}
