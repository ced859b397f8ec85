import * as z from 'zod';
import type { ApiClient } from './client.ts';
import { ignoreNotFound } from './errors.ts';
import type { Resource } from './resource.ts';

const resourceList = z.looseObject({ resources: z.array(z.looseObject({ name: z.string() })) });

/**
 * Asks the API server whether it serves a resource in its group and version.
 * @throws ApiError if it does not respond or refuses to say
 */
export async function isServed(
  client: ApiClient,
  { group, version, plural }: Resource,
  signal: AbortSignal,
): Promise<boolean> {
  const path = `/apis/${group}/${version}`;
  const found = await client.request({ method: 'GET', path, signal }).catch(ignoreNotFound);
  return found !== undefined && resourceList.parse(found).resources.some(({ name }) => name === plural);
}
