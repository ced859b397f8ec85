import { configMaps } from '../observe/cluster/resources.ts';
import type { OperatorConfiguration } from '../configuration/configuration.ts';
import { configurationError } from '../configuration/errors.ts';
import type { ApiClient } from '../runtime/api/client.ts';
import { isApiError } from '../runtime/api/errors.ts';

/**
 * Reads the registry authorities' certificates that the configuration names; undefined if it names none.
 * @throws ConfigurationError if they do not exist, ApiError
 */
export async function readTrustedCertificates(
  client: ApiClient,
  { namespace, registry }: Pick<OperatorConfiguration, 'namespace' | 'registry'>,
): Promise<string | undefined> {
  const { trustedCertificates: named } = registry;
  if (named === undefined) return undefined;
  const found = await client.get(configMaps, { namespace, name: named.configMap }).catch((error: unknown) => {
    if (isApiError(error, 'NOT_FOUND')) return undefined;
    throw error;
  });
  const text = found?.data?.[named.key];
  if (text !== undefined) return text;
  throw configurationError('The operator configuration', [
    `registry.trustedCertificates: the ConfigMap ${namespace}/${named.configMap} has no key ${named.key}, or does not exist`,
  ]);
}
