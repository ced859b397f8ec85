import type { V1ClusterRoleBinding, V1Deployment, V1RoleBinding } from '@kubernetes/client-node';
import { nfdGroup } from '../../../api/crd/nfd-definitions.ts';
import type { KubernetesObject } from '../../runtime/api/object-key.ts';
import type { Resource } from '../../runtime/api/resource.ts';
import type { CustomResource, FromServer, FullMetadata } from '../../observe/cluster/resources.ts';

export type Deployment = FromServer<V1Deployment>;
type ClusterRoleBinding = FromServer<V1ClusterRoleBinding>;
type RoleBinding = FromServer<V1RoleBinding>;
/** OpenShift: what pods of some accounts may do. */
export type SecurityContextConstraints = KubernetesObject & {
  readonly metadata: FullMetadata;
  readonly [field: string]: unknown;
};

export const nodeFeatureDiscoveries: Resource<CustomResource> = {
  group: nfdGroup,
  version: 'v1',
  plural: 'nodefeaturediscoveries',
  kind: 'NodeFeatureDiscovery',
  namespaced: true,
};
export const openshiftRules: Resource<CustomResource> = {
  group: nfdGroup,
  version: 'v1',
  plural: 'nodefeaturerules',
  kind: 'NodeFeatureRule',
  namespaced: false,
};
/** The rules that NFD reads. */
export const upstreamRules: Resource<CustomResource> = {
  group: 'nfd.k8s-sigs.io',
  version: 'v1alpha1',
  plural: 'nodefeaturerules',
  kind: 'NodeFeatureRule',
  namespaced: false,
};
export const deployments: Resource<Deployment> = {
  group: 'apps',
  version: 'v1',
  plural: 'deployments',
  kind: 'Deployment',
  namespaced: true,
};
export const clusterRoleBindings: Resource<ClusterRoleBinding> = {
  group: 'rbac.authorization.k8s.io',
  version: 'v1',
  plural: 'clusterrolebindings',
  kind: 'ClusterRoleBinding',
  namespaced: false,
};
export const roleBindings: Resource<RoleBinding> = {
  group: 'rbac.authorization.k8s.io',
  version: 'v1',
  plural: 'rolebindings',
  kind: 'RoleBinding',
  namespaced: true,
};
export const securityContextConstraints: Resource<SecurityContextConstraints> = {
  group: 'security.openshift.io',
  version: 'v1',
  plural: 'securitycontextconstraints',
  kind: 'SecurityContextConstraints',
  namespaced: false,
};
