import * as z from 'zod';
import { conditions } from '../schema/kubernetes.ts';
import { objectMeta, parseResource, type ResourceKind } from '../schema/resource.ts';
import { moduleSpec } from './spec.ts';

const counters = z.object({
  nodesMatchingSelectorNumber: z.int32().optional().describe('Nodes that match the selector.'),
  desiredNumber: z.int32().optional().describe('Nodes that should have it.'),
  availableNumber: z.int32().optional().describe('Nodes that have it.'),
});

/** The phases of the work for one kernel. */
export const kernelPhases = [
  'Pending',
  'Checking',
  'Building',
  'Signing',
  'Verifying',
  'Ready',
  'Failed',
] as const;

/** The status of an image, and how it was produced. */
export const imageFields = {
  digest: z.string().optional().describe('Digest of the image that nodes run.'),
  unsignedDigest: z.string().optional().describe('Digest of the image before it was signed.'),
  inputs: z.string().optional().describe('Hash of the build settings of that image.'),
  phase: z.enum(kernelPhases),
  reason: z.string().optional().describe('CamelCase reason, for programs.'),
  message: z.string().optional().describe('Human-readable message, with the line that failed.'),
  job: z.string().optional().describe('The current or last Job.'),
  attempts: z.int32().optional().describe('Number of failed Jobs for the current inputs.'),
};

const kernelStatus = z.object({
  kernelVersion: z.string().describe('Kernel release as printed by uname -r.'),
  architecture: z.string().describe('Architecture, such as amd64.'),
  nodes: z.int32().optional().describe('Nodes that run this kernel.'),
  image: z.string().optional().describe('The image that the mapping selects.'),
  ...imageFields,
  startTime: z.string().meta({ format: 'date-time' }).optional(),
  lastTransitionTime: z.string().meta({ format: 'date-time' }).optional(),
});

/** The status of a Module. */
export const moduleStatus = z.object({
  observedGeneration: z.int().optional().describe('The generation that the status describes.'),
  conditions: conditions.optional(),
  moduleLoader: counters.optional(),
  devicePlugin: counters.optional(),
  dra: counters.optional(),
  imageRebuildTriggerGeneration: z.int().optional(),
  kernels: z
    .array(kernelStatus)
    .meta({
      'x-kubernetes-list-type': 'map',
      'x-kubernetes-list-map-keys': ['kernelVersion', 'architecture'],
    })
    .optional()
    .describe('One entry for each kernel in the cluster that a mapping matches.'),
});

/** The status of a Module. */
export type ModuleStatus = z.output<typeof moduleStatus>;
export type KernelStatus = z.output<typeof kernelStatus>;
export type KernelPhase = (typeof kernelPhases)[number];

/** The group, version and kind of Module. */
export const moduleKind = {
  group: 'kmm.sigs.x-k8s.io',
  version: 'v1beta1',
  kind: 'Module',
} as const satisfies ResourceKind;

/** A kernel module for the nodes of this cluster. */
export const moduleResource = z.object({
  apiVersion: z.literal('kmm.sigs.x-k8s.io/v1beta1'),
  kind: z.literal('Module'),
  metadata: objectMeta,
  spec: moduleSpec,
  // Only we write it; an unreadable status counts as absent and is rewritten.
  status: moduleStatus.optional().catch(undefined),
});

/** A kernel module for the nodes of this cluster. */
export type Module = z.output<typeof moduleResource>;

/** Parses a Module. @throws ResourceError INVALID_RESOURCE */
export function parseModule(value: unknown): Module {
  return parseResource(moduleResource, moduleKind.kind, value);
}
