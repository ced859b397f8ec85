import * as z from 'zod';
import { build, registryTls, sign } from './build-and-sign.ts';

/** Fields shared by a kernel mapping and the container above it. The mapping's take precedence. */
export const mappingDefaults = {
  containerImage: z
    .string()
    .optional()
    .describe(
      'The module loader image. Kernel and module variables such as ${KERNEL_FULL_VERSION} are expanded.',
    ),
  build: build.optional().describe('How to build the image if it does not exist.'),
  sign: sign.optional().describe('How to sign the kernel modules of the image.'),
  registryTLS: registryTls.optional().describe('How to connect to the registry of containerImage.'),
  inTreeModuleToRemove: z.string().optional().describe('Deprecated: use inTreeModulesToRemove.'),
  inTreeModulesToRemove: z
    .array(z.string())
    .optional()
    .describe('In-tree modules to unload before this one is loaded.'),
};

/** One entry of kernelMappings: which kernels, and the image for them. */
export const kernelMapping = z
  .object({
    literal: z.string().optional().describe('The exact kernel version.'),
    regexp: z
      .string()
      .optional()
      .describe('A regular expression (RE2, not anchored) that kernel versions match.'),
    ...mappingDefaults,
  })
  .meta({
    'x-kubernetes-validations': [
      {
        rule: '(has(self.literal) && size(self.literal) > 0) != (has(self.regexp) && size(self.regexp) > 0)',
        message: 'exactly one of literal and regexp must be set',
      },
      {
        rule:
          '!(has(self.inTreeModuleToRemove) && size(self.inTreeModuleToRemove) > 0) || !has(self.inTreeModulesToRemove) ' +
          '|| size(self.inTreeModulesToRemove) == 0',
        message: 'inTreeModuleToRemove and inTreeModulesToRemove are mutually exclusive',
      },
    ],
  });

/** One entry of kernelMappings. */
export type KernelMapping = z.output<typeof kernelMapping>;
