import type { CustomResource } from '../../../src/controller/observe/cluster/resources.ts';
import type { Resource } from '../../../src/controller/runtime/api/resource.ts';

export const managedClusterModules: Resource<CustomResource> = {
  group: 'hub.kmm.sigs.x-k8s.io',
  version: 'v1beta1',
  plural: 'managedclustermodules',
  kind: 'ManagedClusterModule',
  namespaced: false,
};
