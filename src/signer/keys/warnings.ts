import type { X509Certificate } from 'node:crypto';
import { certificateFields } from '../cms/certificate-fields.ts';
import type { HashAlgorithm } from '../model/hash.ts';
import type { SigningKey } from '../cms/signer.ts';

/** Returns reasons why a kernel might not accept a key and its certificate, as sentences. */
export function signerWarnings(
  key: SigningKey,
  certificate: X509Certificate,
  now: Date = new Date(),
): string[] {
  return [...keyWarnings(key), ...certificateWarnings(certificate, now)];
}

/** Returns reasons why a kernel might not accept a key with a digest algorithm, as sentences. */
export function hashWarnings(key: SigningKey, hash: HashAlgorithm): string[] {
  if (hash === 'sha1')
    return ['Kernels refuse or stop supporting sha1 for modules; sha256 is safe everywhere.'];
  if (key.algorithm === 'ecdsa' && (hash === 'sha224' || hash === 'sha256')) {
    return [`Kernels require a digest of at least 384 bits with an ECDSA key; ${hash} is shorter.`];
  }
  return [];
}

function keyWarnings({ algorithm, bits }: SigningKey): string[] {
  if (algorithm === 'ecdsa') {
    return [
      'Not all kernels are built to accept ECDSA for modules (Debian 12 and RHEL 8 are not); RSA is safe everywhere.',
    ];
  }
  if (bits < 2048)
    return [`The RSA key has ${bits} bits, which is weak; firmware and distributions expect at least 2048.`];
  return [];
}

function certificateWarnings(certificate: X509Certificate, now: Date): string[] {
  const warnings: string[] = [];
  const { keyUsage } = certificateFields(certificate);
  if (keyUsage !== null && !keyUsage.includes('digitalSignature')) {
    warnings.push(
      "The certificate's key usage does not include digitalSignature; some kernels may not accept it.",
    );
  }
  if (now < certificate.validFromDate) {
    warnings.push(
      `The certificate is not valid before ${certificate.validFromDate.toISOString()}; kernels do not check this.`,
    );
  }
  if (now > certificate.validToDate) {
    warnings.push(
      `The certificate expired on ${certificate.validToDate.toISOString()}; kernels do not check this.`,
    );
  }
  return warnings;
}
