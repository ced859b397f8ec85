import * as z from 'zod';
import { conditions, labelMap } from './schema/kubernetes.ts';
import { moduleSpec } from './module/spec.ts';
import { imageFields } from './module/module.ts';
import { objectMeta, parseResource } from './schema/resource.ts';

/** The spec of a ManagedClusterModule. */
export const managedClusterModuleSpec = z.object({
  moduleSpec: moduleSpec.describe(
    'The Module for the selected clusters. They get it without its build and sign sections.',
  ),
  spokeNamespace: z.string().min(1).describe('Namespace of the Module in the selected clusters.'),
  selector: labelMap.describe('Labels of the ManagedClusters that get the Module.'),
});

/** The phases of a cluster, from worst to best. */
export const clusterPhases = [
  'Failed',
  'Degraded',
  'Pending',
  'Building',
  'Applying',
  'Applied',
  'Ready',
] as const;

const clusterStatus = z.object({
  name: z.string().describe('The ManagedCluster.'),
  phase: z
    .enum(clusterPhases)
    .describe(
      'Pending: not started. Building: images are being built and signed. Applying: the agent has not applied the Module ' +
        'yet. Applied: the cluster has the Module, but not all its nodes have loaded it. Ready: all its nodes have. ' +
        'Degraded: the cluster reports a failure. Failed: the Module cannot be applied.',
    ),
  reason: z.string().optional().describe('CamelCase reason, for programs.'),
  message: z.string().optional().describe('Human-readable message.'),
  kernels: z.int32().optional().describe('Kernels of the cluster that a mapping matches.'),
  manifestWork: z.string().optional().describe('The ManifestWork in the namespace of the cluster.'),
  applied: z.boolean().optional().describe('The cluster has the current Module.'),
  degraded: z.boolean().optional().describe('The cluster reports the Module as degraded.'),
  availableNumber: z.int32().optional().describe('Nodes of the cluster that have the module.'),
  desiredNumber: z.int32().optional().describe('Nodes of the cluster that should have it.'),
});

const imageStatus = z.object({
  image: z.string().describe('The image that a mapping names for kernels of clusters.'),
  kernelVersion: z.string().optional().describe('The first kernel that it is for, as printed by uname -r.'),
  ...imageFields,
});

/** Limit on images in the status: with the longest texts, they take a third of an object's maximum size. */
export const maxListedImages = 400;

/** Limit on clusters in the status: with the longest texts, they take a tenth of an object's maximum size. */
export const maxListedClusters = 100;

/** The status of a ManagedClusterModule. */
export const managedClusterModuleStatus = z.object({
  observedGeneration: z.int().optional(),
  conditions: conditions.optional(),
  numberDesired: z.int32().optional().describe('Clusters that should get the Module.'),
  numberApplied: z.int32().optional().describe('Clusters that have it.'),
  numberDegraded: z.int32().optional().describe('Clusters that report it as degraded.'),
  phases: z.record(z.string(), z.int32()).optional().describe('Number of clusters in each phase.'),
  clusters: z
    .array(clusterStatus)
    .max(maxListedClusters)
    .meta({ 'x-kubernetes-list-type': 'atomic' })
    .optional()
    .describe(`The clusters that are not Ready, worst first, at most ${maxListedClusters}.`),
  images: z
    .array(imageStatus)
    .max(maxListedImages)
    .meta({ 'x-kubernetes-list-type': 'atomic' })
    .optional()
    .describe(`The images that the hub builds, signs and verifies, at most ${maxListedImages}.`),
});

/** The status of an image on the hub. */
export type HubImageStatus = z.output<typeof imageStatus>;
/** The status of a ManagedClusterModule. */
export type ManagedClusterModuleStatus = z.output<typeof managedClusterModuleStatus>;
/** The status of a ManagedClusterModule in one cluster. */
export type ClusterStatus = z.output<typeof clusterStatus>;
export type ClusterPhase = (typeof clusterPhases)[number];

/** A Module for the clusters that a hub manages. */
export const managedClusterModule = z.object({
  apiVersion: z.literal('hub.kmm.sigs.x-k8s.io/v1beta1'),
  kind: z.literal('ManagedClusterModule'),
  metadata: objectMeta,
  spec: managedClusterModuleSpec,
  // Only we write it; an unreadable status counts as absent and is rewritten.
  status: managedClusterModuleStatus.optional().catch(undefined),
});

export type ManagedClusterModule = z.output<typeof managedClusterModule>;

/** Parses a ManagedClusterModule. @throws ResourceError INVALID_RESOURCE */
export function parseManagedClusterModule(value: unknown): ManagedClusterModule {
  return parseResource(managedClusterModule, 'ManagedClusterModule', value);
}
