import type { V1ObjectMeta } from '@kubernetes/client-node';
import type { FromServer } from './resources.ts';

/** An object of the client library's types as one that the API server takes: what we make always has a name. */
export function fromLibrary<T extends { metadata?: V1ObjectMeta }>(object: T): FromServer<T> {
  const { name = '', namespace, labels, annotations, ownerReferences } = object.metadata ?? {};
  return Object.assign({}, object, {
    metadata: { name, namespace, labels, annotations, ownerReferences },
  });
}
