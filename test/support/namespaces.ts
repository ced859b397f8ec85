import type { Resource } from '../../src/controller/runtime/api/resource.ts';

export const namespaces: Resource = {
  group: '',
  version: 'v1',
  plural: 'namespaces',
  kind: 'Namespace',
  namespaced: false,
};
