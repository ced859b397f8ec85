import * as z from 'zod';
import { conditions } from '../schema/kubernetes.ts';

const counters = z.object({
  nodesMatchingSelectorNumber: z.int32().optional().describe('Nodes that the selector finds.'),
  desiredNumber: z.int32().optional().describe('Nodes that should get it.'),
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
  digest: z.string().optional().describe('Digest of what runs on nodes.'),
  unsignedDigest: z.string().optional().describe('Digest of the image before it was signed.'),
  inputs: z.string().optional().describe('Hash of what the Module says about the build of that image.'),
  phase: z.enum(kernelPhases),
  reason: z.string().optional().describe('A word in CamelCase, for programs.'),
  message: z.string().optional().describe('A sentence for people, with the line that failed.'),
  job: z.string().optional().describe('The Job that works on it, or worked last.'),
  attempts: z.int32().optional().describe('Jobs that failed for the present inputs.'),
};

const kernelStatus = z.object({
  kernelVersion: z.string().describe('As uname -r gives it.'),
  architecture: z.string().describe('Such as amd64.'),
  nodes: z.int32().optional().describe('Nodes that run this kernel.'),
  image: z.string().optional().describe('The image that the mapping gives.'),
  ...imageFields,
  startTime: z.string().meta({ format: 'date-time' }).optional(),
  lastTransitionTime: z.string().meta({ format: 'date-time' }).optional(),
});

/** The status of a Module. */
export const moduleStatus = z.object({
  observedGeneration: z.int().optional().describe('The generation that the rest of the status speaks of.'),
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
