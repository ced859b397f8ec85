import { X509Certificate } from 'node:crypto';
import { derTag } from './der.ts';
import { SignerError } from '../model/errors.ts';

const pemCertificate =
  /-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----[\s\S]*?-----END (?:X509 |TRUSTED )?CERTIFICATE-----/g;

/**
 * Reads certificates: one in DER, or one or more in PEM. `name` is used in messages.
 * @throws SignerError INVALID_CERTIFICATE
 */
export function parseCertificates(bytes: Buffer, name: string): [X509Certificate, ...X509Certificate[]] {
  const encoded =
    bytes[0] === derTag.sequence ? [bytes] : (bytes.toString('latin1').match(pemCertificate) ?? []);
  const [first, ...rest] = encoded.map((one) => parseCertificate(one, name));
  if (first === undefined) {
    throw new SignerError({
      code: 'INVALID_CERTIFICATE',
      message: `${name} contains no certificate`,
      hint: 'Certificates are read in PEM or DER.',
    });
  }
  return [first, ...rest];
}

function parseCertificate(encoded: Buffer | string, name: string): X509Certificate {
  try {
    return new X509Certificate(encoded);
  } catch {
    throw new SignerError({
      code: 'INVALID_CERTIFICATE',
      message: `The certificate in ${name} cannot be read`,
      hint: 'Give an X.509 certificate in PEM or DER; openssl x509 -in FILE -text shows whether it is one.',
    });
  }
}

/** Returns the SHA-256 of a certificate's DER, in lower-case hexadecimal without colons. */
export function certificateFingerprint(certificate: X509Certificate): string {
  return certificate.fingerprint256.replaceAll(':', '').toLowerCase();
}
