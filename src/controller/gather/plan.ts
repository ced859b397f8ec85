import { labelKeys } from '../../builder/labels.ts';
import type { Selection } from '../runtime/api/list.ts';

/** A resource by group and plural. */
type ResourceName = readonly [group: string, plural: string];

/** What is read of a cluster: that of an operator, or of a hub's operator. */
export interface GatherPlan {
  /** `app.kubernetes.io/name` of the operator's objects. */
  readonly operatorName: string;
  /** The group whose resources are read whole: ours. */
  readonly ownGroup: string;
  /** The kind whose objects refer to others. */
  readonly referring: ResourceName;
  /** Read in all namespaces, or of the cluster. */
  readonly clusterWide: readonly { readonly resource: ResourceName; readonly selection?: Selection }[];
  /** Read whole in the operator's namespace. */
  readonly operatorNamespace: readonly ResourceName[];
}

const partOfKmm: Selection = { labelSelector: 'app.kubernetes.io/part-of=kmm' };
const ofModules: Selection = { labelSelector: labelKeys.moduleName };

const definitions: ResourceName = ['apiextensions.k8s.io', 'customresourcedefinitions'];
const webhooks: ResourceName = ['admissionregistration.k8s.io', 'validatingwebhookconfigurations'];
const roles = 'rbac.authorization.k8s.io';

const always: GatherPlan['clusterWide'] = [
  { resource: ['', 'nodes'] },
  { resource: definitions },
  { resource: webhooks },
  { resource: [roles, 'clusterroles'], selection: partOfKmm },
  { resource: [roles, 'clusterrolebindings'], selection: partOfKmm },
  { resource: ['config.openshift.io', 'clusterversions'] },
];

const operatorNamespace: readonly ResourceName[] = [
  ['apps', 'deployments'],
  ['apps', 'replicasets'],
  ['apps', 'daemonsets'],
  ['batch', 'jobs'],
  ['', 'pods'],
  ['', 'services'],
  ['', 'configmaps'],
  ['', 'secrets'],
  ['', 'serviceaccounts'],
  ['', 'events'],
  ['', 'resourcequotas'],
  ['discovery.k8s.io', 'endpointslices'],
  ['coordination.k8s.io', 'leases'],
  ['networking.k8s.io', 'networkpolicies'],
  ['policy', 'poddisruptionbudgets'],
  [roles, 'roles'],
  [roles, 'rolebindings'],
];

/** What is read of a cluster with an operator. */
export const clusterPlan: GatherPlan = {
  operatorName: 'kmm-operator',
  ownGroup: 'kmm.sigs.x-k8s.io',
  referring: ['kmm.sigs.x-k8s.io', 'modules'],
  clusterWide: [
    ...always,
    { resource: ['apps', 'daemonsets'], selection: ofModules },
    { resource: ['batch', 'jobs'], selection: ofModules },
    { resource: ['', 'pods'], selection: ofModules },
    { resource: ['resource.k8s.io', 'deviceclasses'], selection: ofModules },
    { resource: ['nfd.openshift.io', 'nodefeaturediscoveries'] },
    { resource: ['nfd.openshift.io', 'nodefeaturerules'] },
    { resource: ['nfd.k8s-sigs.io', 'nodefeaturerules'] },
    { resource: ['cluster.open-cluster-management.io', 'clusterclaims'] },
    { resource: ['work.open-cluster-management.io', 'appliedmanifestworks'] },
  ],
  operatorNamespace,
};

/** What is read of a hub. */
export const hubPlan: GatherPlan = {
  operatorName: 'kmm-operator-hub',
  ownGroup: 'hub.kmm.sigs.x-k8s.io',
  referring: ['hub.kmm.sigs.x-k8s.io', 'managedclustermodules'],
  clusterWide: [
    ...always,
    { resource: ['cluster.open-cluster-management.io', 'managedclusters'] },
    {
      resource: ['work.open-cluster-management.io', 'manifestworks'],
      selection: { labelSelector: labelKeys.managedClusterModule },
    },
  ],
  operatorNamespace,
};

/** The API groups that a plan needs; the core group has the empty name. */
export function groupsOf({ ownGroup, clusterWide, operatorNamespace: own }: GatherPlan): readonly string[] {
  const groups = [...clusterWide.map(({ resource }) => resource[0]), ...own.map(([group]) => group)];
  return [...new Set([ownGroup, ...groups])].toSorted();
}

/** Whether an object of a resource that is read whole concerns us; the others are read and left out. */
export function concernsUs(
  [group, plural]: ResourceName,
  name: string,
  labels: Readonly<Record<string, string>>,
): boolean {
  if (group === definitions[0] && plural === definitions[1]) {
    return ['.kmm.sigs.x-k8s.io', '.nfd.openshift.io', '.nfd.k8s-sigs.io'].some((end) => name.endsWith(end));
  }
  if (group === webhooks[0]) return labels['app.kubernetes.io/part-of'] === 'kmm' || name.startsWith('kmm-');
  return true;
}
