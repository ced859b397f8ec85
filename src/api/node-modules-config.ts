import * as z from 'zod';
import { modprobeFields } from './module/modprobe.ts';
import { localObjectReference, toleration } from './schema/kubernetes.ts';

/** Which Module an entry is about, and what its pods on the node are like. */
const item = {
  name: z.string().describe('Name of the Module.'),
  namespace: z.string().describe('Namespace of the Module.'),
  serviceAccountName: z.string().describe('ServiceAccount of the pods that load the module.'),
  imageRepoSecret: localObjectReference.optional().describe('Pull secret for the image.'),
  tolerations: z.array(toleration).optional().describe('Taints that the pods on the node tolerate.'),
  version: z.string().optional().describe('The version, in ordered upgrades.'),
};

const moduleConfig = z.object({
  kernelVersion: z.string().describe('The kernel, without the + at the end of some releases.'),
  containerImage: z.string().describe('The image as the Module names it for this kernel.'),
  imagePullPolicy: z.string().default('IfNotPresent').describe('When the image is pulled.'),
  insecurePull: z.boolean().describe('Whether the image may be pulled over plain HTTP.'),
  inTreeModuleToRemove: z.string().optional().describe('Deprecated: inTreeModulesToRemove with one name.'),
  inTreeModulesToRemove: z
    .array(z.string())
    .optional()
    .describe('Modules of the running kernel that are unloaded first.'),
  modprobe: modprobeFields.describe('How the module is loaded and unloaded.'),
});

const specEntry = z.object({ ...item, config: moduleConfig.describe('What the node should have.') });

const statusEntry = z.object({
  ...item,
  config: moduleConfig.optional().describe('What is loaded. Absent: something else than the spec says.'),
  bootId: z.string().optional().describe('The boot of the node in which it was loaded.'),
});

/** What a node should have. Written by the operator. */
export const nodeModulesConfigSpec = z.object({
  modules: z.array(specEntry).optional().describe('One entry for each Module that the node should have.'),
});

/** What a node has. Written by the operator. */
export const nodeModulesConfigStatus = z.object({
  modules: z.array(statusEntry).optional().describe('One entry for each Module that the node has.'),
});

/** A Module that a node should have. */
export type NodeModuleSpec = z.output<typeof specEntry>;
/** A Module that a node has. */
export type NodeModuleStatus = z.output<typeof statusEntry>;
