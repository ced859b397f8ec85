import type { CustomResource } from '../../observe/cluster/resources.ts';
import type { Resource } from '../../runtime/api/resource.ts';

export const managedClusterModules: Resource<CustomResource> = {
  group: 'hub.kmm.sigs.x-k8s.io',
  version: 'v1beta1',
  plural: 'managedclustermodules',
  kind: 'ManagedClusterModule',
  namespaced: false,
};

/** Open Cluster Management: a cluster managed by the hub. */
export const managedClusters: Resource<CustomResource> = {
  group: 'cluster.open-cluster-management.io',
  version: 'v1',
  plural: 'managedclusters',
  kind: 'ManagedCluster',
  namespaced: false,
};

/** Open Cluster Management: objects for a cluster, in the hub's namespace of the cluster's name. */
export const manifestWorks: Resource<CustomResource> = {
  group: 'work.open-cluster-management.io',
  version: 'v1',
  plural: 'manifestworks',
  kind: 'ManifestWork',
  namespaced: true,
};
