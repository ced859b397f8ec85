import * as z from 'zod';
import { affinity, labelMap, resourceRequirements, toleration } from '../schema/kubernetes.ts';

/**
 * Scheduling and size of a build or sign pod. What runs in the pod, its mounts and its privileges cannot be
 * changed here: whoever may create a Module is not necessarily allowed to read the Secrets that these pods
 * see.
 */
export const podTemplate = z
  .object({
    labels: labelMap.optional().describe('Labels to add to the pod.'),
    annotations: labelMap.optional().describe('Annotations to add to the pod.'),
    nodeSelector: labelMap.optional().describe('Labels to add to the node selector.'),
    tolerations: z.array(toleration).optional().describe('Tolerations to add.'),
    affinity: affinity.optional(),
    priorityClassName: z.string().optional(),
    runtimeClassName: z.string().optional(),
    schedulerName: z.string().optional(),
    resources: resourceRequirements.optional().describe('Requests and limits of the container.'),
    activeDeadlineSeconds: z.int().positive().optional().describe('Seconds after which the Job is given up.'),
  })
  .describe('Scheduling and size of the pod. An addition to the API of KMM.');

/** Scheduling and size of a build or sign pod. */
export type PodTemplate = z.output<typeof podTemplate>;
