import * as z from 'zod';
import {
  affinity,
  labelMap,
  localObjectReference,
  resourceRequirements,
  toleration,
} from '../schema/kubernetes.ts';

/** How to connect to a registry. */
export const registryTls = z.object({
  insecure: z.boolean().optional().describe('Allow plain HTTP. Avoid it.'),
  insecureSkipTLSVerify: z.boolean().optional().describe('Accept any certificate. Avoid it.'),
});

/** How to connect to a registry. */
export type RegistryTls = z.output<typeof registryTls>;

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
    activeDeadlineSeconds: z.int().positive().optional().describe('Seconds after which the Job is aborted.'),
  })
  .describe('Scheduling and size of the pod. An addition to the API of KMM.');

/** Scheduling and size of a build or sign pod. */
export type PodTemplate = z.output<typeof podTemplate>;

const buildArg = z.object({
  name: z.string().describe('Name of the ARG in the Dockerfile.'),
  value: z.string(),
});

/** How an image is built in the cluster. */
export const build = z.object({
  dockerfileConfigMap: localObjectReference
    .optional()
    .describe(
      'ConfigMap with the Dockerfile under the key "dockerfile". Required at the container or at the mapping.',
    ),
  buildArgs: z
    .array(buildArg)
    .optional()
    .describe(
      'Arguments for the Dockerfile. KERNEL_VERSION, KERNEL_FULL_VERSION, MOD_NAME, MOD_NAMESPACE and, if it ' +
        'is used, DTK_AUTO are added and take precedence.',
    ),
  secrets: z
    .array(localObjectReference)
    .optional()
    .describe('Secrets that the build sees as directories /run/secrets/NAME.'),
  baseImageRegistryTLS: registryTls.optional().describe('How to connect to the registries of FROM images.'),
  selector: labelMap
    .optional()
    .describe('Nodes that the build may run on. Default: the selector of the Module.'),
  kanikoParams: z
    .object({
      tag: z.string().optional().describe('Tag of the Kaniko image. Default: the configured one.'),
    })
    .optional()
    .describe('Settings for Kaniko; other builders ignore them.'),
  podTemplate: podTemplate.optional(),
});

/** How an image is built in the cluster. */
export type Build = z.output<typeof build>;

/** How the kernel modules of an image are signed. */
export const sign = z.object({
  unsignedImage: z
    .string()
    .optional()
    .describe('The image to sign if it is not built in the cluster. Kernel variables are expanded.'),
  unsignedImageRegistryTLS: registryTls
    .optional()
    .describe('How to connect to the registry of the unsigned image.'),
  keySecret: localObjectReference
    .optional()
    .describe(
      'Secret with the private key under the key "key". Required at the container or at the mapping.',
    ),
  certSecret: localObjectReference
    .optional()
    .describe(
      'Secret with the certificate under the key "cert". Required at the container or at the mapping.',
    ),
  filesToSign: z
    .array(z.string())
    .optional()
    .describe(
      'Absolute paths or globs of the modules to sign. Kernel variables are expanded. Default: every kernel module.',
    ),
  podTemplate: podTemplate.optional(),
});

/** How the kernel modules of an image are signed. */
export type Sign = z.output<typeof sign>;
