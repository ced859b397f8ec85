import type { V1OwnerReference } from '@kubernetes/client-node';
import type { Module } from '../../api/module/module.ts';
import type { ModuleName } from '../../builder/labels.ts';
import type { CachedModule } from '../observe/cluster/caches.ts';

/** A Module from the API server: namespace, UID and resource version are there. */
export type NamedModule = Module & {
  readonly metadata: Module['metadata'] & {
    readonly namespace: string;
    readonly uid: string;
    readonly resourceVersion: string;
  };
};

/** A cached Module that could be read, with its names. */
export function namedModule({ metadata }: CachedModule, module: Module): NamedModule {
  const { namespace = '', uid = '', resourceVersion = '' } = metadata;
  return { ...module, metadata: { ...module.metadata, namespace, uid, resourceVersion } };
}

/** What names a Module in labels and templates. */
export function moduleNameOf({ metadata }: NamedModule): ModuleName {
  return { namespace: metadata.namespace, name: metadata.name };
}

/** A Module as the owner of what is made for it. */
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
