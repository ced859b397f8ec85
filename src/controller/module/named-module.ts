import type { V1OwnerReference } from '@kubernetes/client-node';
import type { Module } from '../../api/module/module.ts';
import type { ModuleName } from '../../builder/labels.ts';
import type { CachedModule } from '../observe/cluster/caches.ts';
import type { ApiClient } from '../runtime/api/client.ts';
import { ignoreNotFound } from '../runtime/api/errors.ts';
import { metadataOf } from '../runtime/api/resource.ts';
import { modules } from '../observe/cluster/resources.ts';

/** A Module from the API server, with namespace, UID and resource version. */
export type NamedModule = Module & {
  readonly metadata: Module['metadata'] & {
    readonly namespace: string;
    readonly uid: string;
    readonly resourceVersion: string;
  };
};

/** Returns a valid cached Module with its namespace, UID and resource version. */
export function namedModule({ metadata }: CachedModule, module: Module): NamedModule {
  const { namespace = '', uid = '', resourceVersion = '' } = metadata;
  return { ...module, metadata: { ...module.metadata, namespace, uid, resourceVersion } };
}

/** Returns the name of a Module for labels and templates. */
export function moduleNameOf({ metadata }: NamedModule): ModuleName {
  return { namespace: metadata.namespace, name: metadata.name };
}

/** Returns the owner reference of objects that are created for a Module. */
export function ownerOf({ metadata }: NamedModule): V1OwnerReference {
  return {
    apiVersion: 'kmm.sigs.x-k8s.io/v1beta1',
    kind: 'Module',
    name: metadata.name,
    uid: metadata.uid,
    controller: true,
    blockOwnerDeletion: true,
  };
}

/** The cached Module is outdated. An event will follow. */
export class OutOfDate extends Error {
  override readonly name = 'OutOfDate';
}

/**
 * Asks the API server whether a Module is still as cached. Status is written before Jobs are deleted, so
 * whoever sees no Job and then an unchanged Module knows that nobody has created that Job and deleted it
 * again.
 * @throws OutOfDate, ApiError
 */
export async function confirmModule(
  client: ApiClient,
  { metadata }: NamedModule,
  signal: AbortSignal,
): Promise<void> {
  const { namespace, name, uid, resourceVersion } = metadata;
  const current = await client
    .get(metadataOf(modules), { namespace, name }, { signal })
    .catch(ignoreNotFound);
  if (current?.metadata.uid === uid && current.metadata.resourceVersion === resourceVersion) return;
  throw new OutOfDate(`the Module ${namespace}/${name} has changed`);
}
