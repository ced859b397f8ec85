import { createHash } from 'node:crypto';
import { checkSignature, type KernelFeatures } from './check-signature.ts';
import type { ParsedCertificate } from './parse-certificate.ts';
import { SignatureRefusal } from './refusal.ts';

/**
 * Returns whether a certificate is self-signed, as the kernel decides when it reads one
 * (x509_check_for_self_signed); a certificate whose self-signature does not verify is refused.
 * @throws SignatureRefusal
 */
export async function signsItself(
  certificate: ParsedCertificate,
  features: KernelFeatures,
): Promise<boolean> {
  const { id, subjectKeyIdentifier, authorityId, authorityKeyIdentifier } = certificate;
  if (!certificate.namesItself) return false;
  if (authorityId !== null || authorityKeyIdentifier !== null) {
    const fitsKey = same(subjectKeyIdentifier, authorityKeyIdentifier);
    const fitsId = same(id, authorityId);
    if (!fitsKey && !fitsId) return false;
    if (fitsKey !== fitsId && authorityId !== null && authorityKeyIdentifier !== null)
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
export function same(one: Buffer | null, other: Buffer | null): boolean {
  return one !== null && other !== null && one.equals(other);
}
