import type { X509Certificate } from 'node:crypto';
import { certificateFingerprint, parseCertificates } from '../../signer/cms/certificates.ts';
import { SignerError } from '../../signer/model/errors.ts';
import type { CustomResource, FullMetadata, Secret } from '../observe/cluster/resources.ts';

/** What is written about a certificate, which is public. */
export interface CertificateFacts {
  readonly sha256: string;
  readonly subject: string;
  readonly notBefore: string;
  readonly notAfter: string;
}

/** What is written about a key of a Secret: never its value. */
export interface SecretKeyFacts {
  readonly empty: boolean;
  readonly certificates: readonly CertificateFacts[];
}

/** What is written about a Secret. */
export interface SecretFacts extends CustomResource {
  readonly type: string | undefined;
  readonly keys: Readonly<Record<string, SecretKeyFacts>>;
}

/** Reduces a Secret to its name, its labels, the names of its keys and the digests of its certificates. */
export function describeSecret({ metadata, type, data = {} }: Secret): SecretFacts {
  const { name, namespace, labels, creationTimestamp, ownerReferences, uid } = metadata;
  const shown: FullMetadata = { name, namespace, uid, labels, creationTimestamp, ownerReferences };
  const keys = Object.entries(data).map(([key, value]) => [key, describeKey(value)] as const);
  return { apiVersion: 'v1', kind: 'Secret', metadata: shown, type, keys: Object.fromEntries(keys) };
}

function describeKey(base64: string): SecretKeyFacts {
  const bytes = Buffer.from(base64, 'base64');
  return { empty: bytes.length === 0, certificates: certificatesIn(bytes).map(describeCertificate) };
}

function certificatesIn(bytes: Buffer): readonly X509Certificate[] {
  try {
    return parseCertificates(bytes, 'a Secret');
  } catch (error) {
    // Everything else in Secrets, such as a private key.
    if (error instanceof SignerError) return [];
    throw error;
  }
}

function describeCertificate(certificate: X509Certificate): CertificateFacts {
  return {
    sha256: certificateFingerprint(certificate),
    subject: certificate.subject.replaceAll('\n', ', '),
    notBefore: certificate.validFromDate.toISOString(),
    notAfter: certificate.validToDate.toISOString(),
  };
}
