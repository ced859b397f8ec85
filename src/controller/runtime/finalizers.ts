import type { ApiClient, CallOptions } from './api/client.ts';
import { keyOf, type KubernetesObject } from './api/object-key.ts';
import type { Resource } from './api/resource.ts';

/** Returns whether an object will be deleted once its finalizers are removed. */
export function isBeingDeleted({ metadata }: KubernetesObject): boolean {
  return metadata.deletionTimestamp !== undefined;
}

/**
 * Adds a finalizer to an object, so that it stays until we have cleaned up. Returns the updated object.
 * @throws ApiError CONFLICT if the object is outdated; reconcile again
 */
export async function addFinalizer<T extends KubernetesObject>(
  client: ApiClient,
  resource: Resource<T>,
  object: T,
  finalizer: string,
  options: CallOptions = {},
): Promise<T> {
  const present = object.metadata.finalizers ?? [];
  if (present.includes(finalizer)) return object;
  return setFinalizers(client, resource, object, [...present, finalizer], options);
}

/**
 * Removes a finalizer. Returns the updated object, which may no longer exist after that.
 * @throws ApiError CONFLICT if the object is outdated; reconcile again
 */
export async function removeFinalizer<T extends KubernetesObject>(
  client: ApiClient,
  resource: Resource<T>,
  object: T,
  finalizer: string,
  options: CallOptions = {},
): Promise<T> {
  const present = object.metadata.finalizers ?? [];
  if (!present.includes(finalizer)) return object;
  const left = present.filter((one) => one !== finalizer);
  return setFinalizers(client, resource, object, left, options);
}

function setFinalizers<T extends KubernetesObject>(
  client: ApiClient,
  resource: Resource<T>,
  object: T,
  finalizers: readonly string[],
  options: CallOptions,
): Promise<T> {
  // A merge patch replaces the whole list: the resource version keeps it from overwriting others' changes.
  const { uid, resourceVersion } = object.metadata;
  return client.patch(resource, keyOf(object), { metadata: { finalizers, uid, resourceVersion } }, options);
}
