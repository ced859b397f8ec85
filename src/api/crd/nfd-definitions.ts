import type { V1CustomResourceDefinition } from '@kubernetes/client-node';
import { nodeFeatureDiscoverySpec, nodeFeatureDiscoveryStatus } from '../nfd/node-feature-discovery.ts';
import { nodeFeatureRuleSpec, nodeFeatureRuleStatus } from '../nfd/node-feature-rule.ts';
import { conditionColumn } from './columns.ts';
import { customResourceDefinition, type CustomResource } from './custom-resource-definition.ts';

/** The group of OpenShift's operator for NFD, whose resources these are. */
export const nfdGroup = 'nfd.openshift.io';
const versions = [{ name: 'v1', storage: true }];

const resources: readonly CustomResource[] = [
  {
    group: nfdGroup,
    kind: 'NodeFeatureDiscovery',
    plural: 'nodefeaturediscoveries',
    shortNames: [],
    scope: 'Namespaced',
    description:
      'Node Feature Discovery in this namespace, which labels the nodes of the cluster with their hardware and their kernel.',
    versions,
    spec: nodeFeatureDiscoverySpec,
    status: nodeFeatureDiscoveryStatus,
    columns: [
      conditionColumn('Available', 'Available', 'status'),
      conditionColumn('Reason', 'Available', 'reason'),
      conditionColumn('Message', 'Available', 'message', 1),
    ],
  },
  {
    group: nfdGroup,
    kind: 'NodeFeatureRule',
    plural: 'nodefeaturerules',
    shortNames: [],
    scope: 'Cluster',
    description:
      'Rules by which nodes are labelled and tainted. The operator writes a NodeFeatureRule of nfd.k8s-sigs.io with the same name.',
    versions,
    spec: nodeFeatureRuleSpec,
    status: nodeFeatureRuleStatus,
    columns: [conditionColumn('Ready', 'Ready', 'status'), conditionColumn('Reason', 'Ready', 'reason')],
  },
];

/** Returns the CustomResourceDefinitions for Node Feature Discovery, which are installed only where it is asked for. */
export function nfdDefinitions(): V1CustomResourceDefinition[] {
  return resources.map(customResourceDefinition);
}
