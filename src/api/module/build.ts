import * as z from 'zod';
import { labelMap, localObjectReference } from '../schema/kubernetes.ts';
import { podTemplate } from './pod-template.ts';
import { registryTls } from './registry-tls.ts';

const buildArg = z.object({
  name: z.string().describe('Name of the ARG in the Dockerfile.'),
  value: z.string(),
});

/** How an image is built in the cluster. */
export const build = z.object({
  dockerfileConfigMap: localObjectReference
    .optional()
    .describe(
      'ConfigMap that holds the Dockerfile under the key "dockerfile". Required at the container or at the mapping.',
    ),
  buildArgs: z
    .array(buildArg)
    .optional()
    .describe(
      'Arguments for the Dockerfile. KERNEL_VERSION, KERNEL_FULL_VERSION, MOD_NAME, MOD_NAMESPACE and, where it is ' +
        'used, DTK_AUTO are added and take precedence.',
    ),
  secrets: z
    .array(localObjectReference)
    .optional()
    .describe('Secrets that the build sees as directories /run/secrets/NAME.'),
  baseImageRegistryTLS: registryTls.optional().describe('How the images of FROM instructions may be pulled.'),
  selector: labelMap
    .optional()
    .describe('Nodes that the build may run on. Default: the selector of the Module.'),
  kanikoParams: z
    .object({
      tag: z.string().optional().describe('Tag of the Kaniko image, in place of the configured one.'),
    })
    .optional()
    .describe('Settings for builds with Kaniko; others ignore them.'),
  podTemplate: podTemplate.optional(),
});

/** How an image is built in the cluster. */
export type Build = z.output<typeof build>;
