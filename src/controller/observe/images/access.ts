import { createHash } from 'node:crypto';
import type { RegistryTls } from '../../../api/module/registry-tls.ts';
import type { PullSecretContent } from '../../../registry/credentials/pull-secret.ts';
import { RegistryError } from '../../../registry/model/errors.ts';
import type { ErrorFacts } from '../../../shared/errors.ts';

/** How to access an image. */
export interface ImageAccess {
  readonly tls: RegistryTls;
  readonly pullSecrets: readonly PullSecretContent[];
}

/** Returns a key that is equal for equal accesses. It has no credentials, only a hash of them. */
export function accessKey({ tls, pullSecrets }: ImageAccess): string {
  const { insecure = false, insecureSkipTLSVerify = false } = tls;
  const contents = pullSecrets.map(({ key, json, source }) => [source, key, json.reveal()]);
  return createHash('sha256')
    .update(JSON.stringify([insecure, insecureSkipTLSVerify, contents]))
    .digest('hex');
}

/** Codes that registries also return for images that do not exist, to clients without access. */
const refusals: ReadonlySet<string> = new Set(['UNAUTHORIZED', 'DENIED']);

/**
 * Returns a registry's refusal with a hint for the author of the Module, who provides credentials as pull
 * Secrets: it names the Secrets, and the users whose credentials were refused. Other errors are unchanged.
 */
export function withPullSecretHint(error: unknown, { pullSecrets }: ImageAccess): unknown {
  if (!(error instanceof RegistryError) || !refusals.has(error.code)) return error;
  const { code, message, facts, cause } = error;
  const sources = pullSecrets.map(({ source }) => source);
  const hint = `${adviceOn(facts, sources)} Some registries (Quay, Docker Hub) refuse requests for a repository that does not exist, too.`;
  return new RegistryError({ code, message, hint, facts, cause });
}

function adviceOn({ credentials, registry }: ErrorFacts, sources: readonly string[]): string {
  if (sources.length === 0) return 'No credentials were sent: name a pull secret in imageRepoSecret.';
  if (!Array.isArray(credentials)) {
    return `Check that these have credentials that may read it: ${sources.join(', ')}.`;
  }
  return credentials.length === 0
    ? `None of these has credentials for ${String(registry)}: ${sources.join(', ')}.`
    : `Check whether these credentials are valid and may read it: ${credentials.join(' and ')}.`;
}
