import type { KubernetesObject } from '../../../src/controller/runtime/object-key.ts';
import type { Resource } from '../../../src/controller/runtime/resource.ts';

export const namespaces: Resource<KubernetesObject> = {
  group: '',
  version: 'v1',
  plural: 'namespaces',
  kind: 'Namespace',
  namespaced: false,
};
