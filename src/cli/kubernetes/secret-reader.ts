import type { SecretReader } from '../../signer/keys/reference.ts';
import type { Session } from '../session/session.ts';

/** Creates a reader of Secrets for `k8s://` references. Its code is loaded when a Secret is read. */
export function createSecretReader(session: Session): SecretReader {
  return {
    async read(namespace, name) {
      const { readSecret } = await import('./read-secret.ts');
      return readSecret({ namespace, name, environment: session.environment, signal: session.signal });
    },
  };
}
