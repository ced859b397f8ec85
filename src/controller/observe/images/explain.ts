import { RegistryError } from '../../../registry/model/errors.ts';
import type { ImageAccess } from './access.ts';

/** Codes with which registries also answer for what does not exist, to those who may not see it. */
const refused: ReadonlySet<string> = new Set(['UNAUTHORIZED', 'DENIED']);

/** The same error, with a hint for who wrote the Module where credentials may be at fault. */
export function explained(error: unknown, { pullSecrets }: ImageAccess): unknown {
  if (!(error instanceof RegistryError) || !refused.has(error.code)) return error;
  const { code, message, facts, cause } = error;
  const credentials =
    pullSecrets.length === 0
      ? 'No credentials were sent: name a pull secret in imageRepoSecret.'
      : `Check that these have credentials that may read it: ${pullSecrets.map(({ source }) => source).join(', ')}.`;
  return new RegistryError({
    code,
    message,
    hint: `${credentials} Some registries (Quay, Docker Hub) answer so for a repository that does not exist, too.`,
    facts,
    cause,
  });
}
