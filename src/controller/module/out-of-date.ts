import type { ApiClient } from '../runtime/api/client.ts';
import { isApiError } from '../runtime/api/errors.ts';
import { modules } from '../observe/cluster/resources.ts';
import type { NamedModule } from './named-module.ts';

/** The cache does not have the Module yet as it is now. Its event will come. */
export class OutOfDate extends Error {
  override readonly name = 'OutOfDate';
}

/**
 * Asks the API server whether a Module is still as the cache has it. Status is written before Jobs are deleted, so
 * whoever sees no Job, and then an unchanged Module, knows that nobody has made that Job and cleared it up.
 * @throws OutOfDate, ApiError
 */
export async function confirmModule(
  client: ApiClient,
  { metadata }: NamedModule,
  signal: AbortSignal,
): Promise<void> {
  const { namespace, name, uid, resourceVersion } = metadata;
  const current = await client.get(modules, { namespace, name }, { signal }).catch((error: unknown) => {
    if (isApiError(error, 'NOT_FOUND')) return undefined;
    throw error;
  });
  if (current?.metadata.uid === uid && current.metadata.resourceVersion === resourceVersion) return;
  throw new OutOfDate(`the Module ${namespace}/${name} has changed`);
}
