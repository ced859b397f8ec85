import type { X509Certificate } from 'node:crypto';
import { loadCertificates } from '../../signer/keys/load-signer.ts';
import type { Session } from '../session/session.ts';
import { createSecretReader } from './secret-reader.ts';

/** Loads the certificates that `--cert` names, several from one file if it holds several. @throws SignerError INVALID_CERTIFICATE */
export async function loadTrustedCertificates(
  references: readonly string[],
  session: Session,
): Promise<X509Certificate[]> {
  const sources = { env: session.environment, readSecret: createSecretReader(session) };
  const loaded = await Promise.all(references.map((reference) => loadCertificates(reference, sources)));
  return loaded.flat();
}
