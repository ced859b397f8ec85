import * as z from 'zod';
import { build } from './build.ts';
import { registryTls } from './registry-tls.ts';
import { sign } from './sign.ts';

/** Fields shared by a kernel mapping and the container above it. The mapping's take precedence. */
export const mappingDefaults = {
  containerImage: z
    .string()
    .optional()
    .describe(
      'The module loader image. Kernel and module variables such as ${KERNEL_FULL_VERSION} are expanded.',
    ),
  build: build.optional().describe('How to build the image where it does not exist.'),
  sign: sign.optional().describe('How to sign the kernel modules of the image.'),
  registryTLS: registryTls.optional().describe('How the registry of containerImage may be spoken to.'),
  inTreeModuleToRemove: z.string().optional().describe('Deprecated: inTreeModulesToRemove with one name.'),
  inTreeModulesToRemove: z
    .array(z.string())
    .optional()
    .describe('Modules of the running kernel to unload before ours is loaded.'),
};

/** One entry of kernelMappings: which kernels, and the image for them. */
export const kernelMapping = z
  .object({
    literal: z.string().optional().describe('The kernel version, exactly.'),
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
