import * as z from 'zod';
import { conditions } from './schema/kubernetes.ts';
import { objectMeta, parseResource } from './schema/resource.ts';

/** Which module nodes of OpenShift load at boot, before their network starts. */
export const bootModuleConfigSpec = z.object({
  machineConfigName: z
    .string()
    .describe('The MachineConfig to write. If it exists, it must be one that loads a module at boot.'),
  machineConfigPoolName: z.string().describe('The MachineConfigPool whose nodes load the module.'),
  kernelModuleImage: z
    .string()
    .describe('Image with the module below /opt/lib/modules, without a tag: its tags are kernel versions.'),
  kernelModuleName: z.string().describe('Name of the kernel module, without .ko.'),
  inTreeModulesToRemove: z
    .array(z.string())
    .optional()
    .describe('Modules of the running kernel that are unloaded first.'),
  inTreeModuleToRemove: z.string().optional().describe('Deprecated: inTreeModulesToRemove with one name.'),
  firmwareFilesPath: z
    .string()
    .optional()
    .describe('Directory in the image whose files are copied to /var/lib/firmware of the node.'),
  workerImage: z
    .string()
    .optional()
    .describe('Image with modprobe that loads the module. Default: that of module loaders.'),
});

/** The status of a BootModuleConfig. */
export const bootModuleConfigStatus = z.object({
  observedGeneration: z.int().optional().describe('The generation that the status describes.'),
  configStatus: z.string().optional().describe('The reason of the condition Ready.'),
  conditions: conditions.optional(),
});

/** A module that nodes of OpenShift load at boot. */
export const bootModuleConfig = z.object({
  apiVersion: z.literal('kmm.sigs.x-k8s.io/v1beta1'),
  kind: z.literal('BootModuleConfig'),
  metadata: objectMeta,
  spec: bootModuleConfigSpec,
  // Only we write it; an unreadable status counts as absent and is rewritten.
  status: bootModuleConfigStatus.optional().catch(undefined),
});

/** A module that nodes of OpenShift load at boot. */
export type BootModuleConfig = z.output<typeof bootModuleConfig>;
export type BootModuleConfigSpec = BootModuleConfig['spec'];
export type BootModuleConfigStatus = z.output<typeof bootModuleConfigStatus>;

/** Parses a BootModuleConfig. @throws ResourceError INVALID_RESOURCE */
export function parseBootModuleConfig(value: unknown): BootModuleConfig {
  return parseResource(bootModuleConfig, 'BootModuleConfig', value);
}
