import type { X509Certificate } from 'node:crypto';
import { parseCertificates } from '../cms/certificates.ts';
import { readReference, type ReferenceSources } from './reference.ts';

/**
 * Reads the certificates that a path, `env://` or `k8s://` reference names.
 * @throws SignerError INVALID_CERTIFICATE, LIMIT_EXCEEDED
 */
export async function loadCertificates(
  reference: string,
  sources: ReferenceSources = { env: {} },
): Promise<[X509Certificate, ...X509Certificate[]]> {
  return parseCertificates(await readReference(reference, 'certificate', sources), reference);
}
