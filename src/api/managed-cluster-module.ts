import { z } from 'zod';
import { conditions, labelMap } from './kubernetes.ts';
import { moduleSpec } from './module/spec.ts';
import { objectMeta, parseResource } from './resource.ts';

/** What a ManagedClusterModule asks for. */
export const managedClusterModuleSpec = z.object({
  moduleSpec: moduleSpec.describe(
    'The Module that the chosen clusters get, without its build and sign sections.',
  ),
  spokeNamespace: z.string().min(1).describe('Namespace of the Module in the chosen clusters.'),
  selector: labelMap.describe('Labels of the ManagedClusters that get the Module.'),
});

const clusterStatus = z.object({
  name: z.string().describe('The ManagedCluster.'),
  phase: z.string().describe('Pending, Building, Applied, Degraded or Failed.'),
  reason: z.string().optional(),
  message: z.string().optional(),
  kernels: z.int32().optional().describe('Kernels of the cluster that a mapping matches.'),
  availableNumber: z.int32().optional().describe('Nodes of the cluster that have the module.'),
  desiredNumber: z.int32().optional().describe('Nodes of the cluster that should have it.'),
});

/** What became of a ManagedClusterModule. */
export const managedClusterModuleStatus = z.object({
  observedGeneration: z.int().optional(),
  conditions: conditions.optional(),
  numberDesired: z.int32().optional().describe('Clusters that should get the Module.'),
  numberApplied: z.int32().optional().describe('Clusters that have it.'),
  numberDegraded: z.int32().optional().describe('Clusters that say that it is degraded.'),
  clusters: z
    .array(clusterStatus)
    .meta({ 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['name'] })
    .optional()
    .describe('The clusters that are not as they should be, at most 100.'),
});

/** A Module for the clusters that a hub manages. */
export const managedClusterModule = z.object({
  apiVersion: z.literal('hub.kmm.sigs.x-k8s.io/v1beta1'),
  kind: z.literal('ManagedClusterModule'),
  metadata: objectMeta,
  spec: managedClusterModuleSpec,
  // Only we write it; one that cannot be read counts as absent, and is written anew.
  status: managedClusterModuleStatus.optional().catch(undefined),
});

export type ManagedClusterModule = z.output<typeof managedClusterModule>;

/** Reads a ManagedClusterModule. @throws ResourceError INVALID_RESOURCE */
export function parseManagedClusterModule(value: unknown): ManagedClusterModule {
  return parseResource(managedClusterModule, 'ManagedClusterModule', value);
}
