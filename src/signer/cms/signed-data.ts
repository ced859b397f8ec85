import type { X509Certificate } from 'node:crypto';
import { SignerError } from '../model/errors.ts';
import type { SignatureMethod, SignerIdentifierForm } from './signer.ts';
import { hashAlgorithmIdentifier, oid, signatureAlgorithmIdentifier } from './algorithms.ts';
import { certificateFields } from './certificates.ts';
import { der, derObjectIdentifier, derTag } from './der.ts';

/**
 * Encodes a CMS SignedData (RFC 5652 section 5) as the kernel tree's sign-file does: detached, without
 * certificates or attributes, one signer. @throws SignerError INVALID_CERTIFICATE
 */
export function encodeSignedData(method: SignatureMethod, signature: Uint8Array): Buffer {
  const { signer, hash, identifierForm } = method;
  const version = der(derTag.integer, Buffer.from([identifierForm === 'key-identifier' ? 3 : 1]));
  const digestAlgorithm = hashAlgorithmIdentifier(hash);
  const signerInfo = der(
    derTag.sequence,
    version,
    signerIdentifier(signer.certificate, identifierForm),
    digestAlgorithm,
    signatureAlgorithmIdentifier(signer.key.algorithm, hash),
    der(derTag.octetString, signature),
  );
  const signedData = der(
    derTag.sequence,
    version,
    der(derTag.set, digestAlgorithm),
    der(derTag.sequence, derObjectIdentifier(oid.data)),
    der(derTag.set, signerInfo),
  );
  return der(derTag.sequence, derObjectIdentifier(oid.signedData), der(0xa0, signedData));
}

function signerIdentifier(certificate: X509Certificate, identifierForm: SignerIdentifierForm): Buffer {
  const { issuer, serialNumber, subjectKeyIdentifier } = certificateFields(certificate);
  if (identifierForm === 'issuer-and-serial') return der(derTag.sequence, issuer, serialNumber);
  if (subjectKeyIdentifier === null) {
    throw new SignerError({
      code: 'INVALID_CERTIFICATE',
      message: `The certificate of "${certificate.subject.replaceAll('\n', ', ')}" has no subject key identifier to name it by`,
      hint: 'Name the signer by issuer and serial number, or use a certificate with that extension.',
    });
  }
  return der(0x80, subjectKeyIdentifier);
}
