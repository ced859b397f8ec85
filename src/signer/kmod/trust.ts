import type { X509Certificate } from 'node:crypto';
import { certificateFields } from '../cms/certificate-fields.ts';
import type { SignerIdentifier } from '../cms/parse-signed-data.ts';

/** The certificate that a signature was made with, and the trusted one that it leads to (often the same). */
export interface TrustedSigner {
  readonly signer: X509Certificate;
  readonly anchor: X509Certificate;
}

/** Longer chains do not occur with module keys. */
const maxChainLength = 8;

/**
 * Finds the signer among the trusted certificates, or among those embedded in the signature with a chain of
 * embedded ones up to a trusted certificate. Dates are not looked at: kernels do not look at them either.
 */
export function findTrusted(
  identifier: SignerIdentifier,
  trusted: readonly X509Certificate[],
  embedded: readonly X509Certificate[],
): TrustedSigner | null {
  const own = trusted.find((certificate) => isNamedBy(certificate, identifier));
  if (own !== undefined) return { signer: own, anchor: own };
  const leaf = embedded.find((certificate) => isNamedBy(certificate, identifier));
  if (leaf === undefined) return null;
  let current = leaf;
  for (let length = 0; length < maxChainLength; length += 1) {
    const child = current;
    const anchor = trusted.find((candidate) => isIssuedBy(child, candidate));
    if (anchor !== undefined) return { signer: leaf, anchor };
    const next = embedded.find((candidate) => candidate !== child && isIssuedBy(child, candidate));
    if (next === undefined) return null;
    current = next;
  }
  return null;
}

function isNamedBy(certificate: X509Certificate, identifier: SignerIdentifier): boolean {
  const fields = certificateFields(certificate);
  return identifier.form === 'issuer-and-serial'
    ? fields.issuer.equals(identifier.issuer) && fields.serialNumber.equals(identifier.serialNumber)
    : fields.subjectKeyIdentifier?.equals(identifier.keyIdentifier) === true;
}

function isIssuedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
}
