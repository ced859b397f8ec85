import type { ApiClient, CallOptions } from './api/client.ts';
import { keyOf, type KubernetesObject } from './api/object-key.ts';
import type { Resource } from './api/resource.ts';

/** Whether an object is to be deleted once its finalizers are gone. */
export function isBeingDeleted({ metadata }: KubernetesObject): boolean {
  return metadata.deletionTimestamp !== undefined;
}

/**
 * Puts a finalizer on an object, so that it stays until we have cleaned up. Returns the object as it is then.
 * @throws ApiError CONFLICT when the object is not the newest; reconcile again
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
 * Takes a finalizer off. Returns the object as it is then; it may be gone after that.
 * @throws ApiError CONFLICT when the object is not the newest; reconcile again
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
  // A merge patch replaces the whole list, so others' changes must not be overlooked.
  const { uid, resourceVersion } = object.metadata;
  return client.patch(resource, keyOf(object), { metadata: { finalizers, uid, resourceVersion } }, options);
}
