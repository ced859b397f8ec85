import type { CustomResource } from '../observe/cluster/resources.ts';
import type { Resource } from '../runtime/api/resource.ts';

/** Open Cluster Management: a fact about a cluster, made there, which its hub gets to see. */
export const clusterClaims: Resource<CustomResource> = {
  group: 'cluster.open-cluster-management.io',
  version: 'v1alpha1',
  plural: 'clusterclaims',
  kind: 'ClusterClaim',
  namespaced: false,
};
