import * as z from 'zod';
import { localObjectReference } from '../schema/kubernetes.ts';
import { podTemplate } from './pod-template.ts';
import { registryTls } from './registry-tls.ts';

/** How the kernel modules of an image are signed. */
export const sign = z.object({
  unsignedImage: z
    .string()
    .optional()
    .describe('The image to sign, where it is not built in the cluster. Kernel variables are expanded.'),
  unsignedImageRegistryTLS: registryTls.optional().describe('How the unsigned image may be pulled.'),
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
