import * as z from 'zod';
import {
  deviceClassConfiguration,
  deviceSelector,
  envVar,
  labelMap,
  localObjectReference,
  probe,
  resourceRequirements,
  toleration,
  volume,
  volumeMount,
} from '../schema/kubernetes.ts';
import { kernelMapping, mappingDefaults } from './kernel-mapping.ts';
import { modprobe } from './modprobe.ts';

/** The API server runs rules only over lists with a bounded length. */
const maxKernelMappings = 4096;

const imagePullPolicy = z
  .string()
  .optional()
  .describe('Always, IfNotPresent or Never. Images are pinned by digest, so IfNotPresent is enough.');

const moduleLoaderContainer = z
  .object({
    ...mappingDefaults,
    imagePullPolicy,
    version: z
      .string()
      .optional()
      .describe('Enables ordered upgrades: only nodes labelled with this version get the module.'),
    modprobe,
    kernelMappings: z
      .array(kernelMapping)
      .min(1)
      .max(maxKernelMappings)
      .describe('The image for each kernel. The first matching entry applies.'),
  })
  .meta({
    'x-kubernetes-validations': [
      {
        rule:
          '(has(self.containerImage) && size(self.containerImage) > 0) || ' +
          'self.kernelMappings.all(m, has(m.containerImage) && size(m.containerImage) > 0)',
        message: 'containerImage must be set at the container or at every mapping',
      },
      {
        rule: '(has(self.version) && size(self.version) > 0) == (has(oldSelf.version) && size(oldSelf.version) > 0)',
        message: 'cannot update to or from an empty version; please delete the Module and create it again',
      },
      {
        rule:
          '!(has(self.inTreeModuleToRemove) && size(self.inTreeModuleToRemove) > 0) || !has(self.inTreeModulesToRemove) ' +
          '|| size(self.inTreeModulesToRemove) == 0',
        message: 'inTreeModuleToRemove and inTreeModulesToRemove are mutually exclusive',
      },
    ],
  });

const operandContainer = z.object({
  image: z.string(),
  imagePullPolicy,
  command: z.array(z.string()).optional(),
  args: z.array(z.string()).optional(),
  env: z.array(envVar).optional(),
  resources: resourceRequirements.optional(),
  volumeMounts: z.array(volumeMount).optional(),
  startupProbe: probe.optional(),
  livenessProbe: probe.optional(),
});

const operand = {
  container: operandContainer,
  initContainer: operandContainer.optional().describe('Runs before the container.'),
  serviceAccountName: z.string().optional(),
  volumes: z.array(volume).optional(),
  automountServiceAccountToken: z.boolean().optional(),
};

/** Limits of Kubernetes for a DeviceClass. */
const maxPerDeviceClass = 32;

const deviceClass = z.object({
  name: z.string().describe('Name of the DeviceClass, which has no namespace.'),
  selectors: z
    .array(deviceSelector)
    .max(maxPerDeviceClass)
    .optional()
    .describe('What a device must be to be of the class.'),
  config: z
    .array(deviceClassConfiguration)
    .max(maxPerDeviceClass)
    .optional()
    .describe('What drivers are told of every device that is claimed by the class.'),
});

/** The spec of a Module. */
export const moduleSpec = z
  .object({
    moduleLoader: z
      .object({
        container: moduleLoaderContainer,
        serviceAccountName: z
          .string()
          .optional()
          .describe('ServiceAccount of the pods that load the module.'),
      })
      .optional()
      .describe('Loads the kernel module. Omit it if only a device plugin or a DRA driver is needed.'),
    devicePlugin: z
      .object(operand)
      .optional()
      .describe('A device plugin for nodes where the module is loaded.'),
    dra: z
      .object({
        ...operand,
        driverName: z.string().describe('Name under which the driver registers, a DNS subdomain.'),
        deviceClasses: z
          .array(deviceClass)
          .optional()
          .describe('DeviceClasses that exist as long as this does.'),
      })
      .optional()
      .describe(
        'A driver for dynamic resource allocation (DRA), for nodes where the module is loaded. Needs ' +
          'Kubernetes 1.34 or newer.',
      ),
    imageRepoSecret: localObjectReference
      .optional()
      .describe('Pull secret for the images, and for building and signing them.'),
    selector: labelMap.describe('Nodes that get the module.'),
    tolerations: z.array(toleration).optional().describe('Taints of nodes that the pods tolerate.'),
    imageRebuildTriggerGeneration: z
      .int()
      .optional()
      .describe(
        'Change this number to check every image again and to build and sign what is missing. ' +
          'With the annotation kmm.sigs.x-k8s.io/rebuild: always, to rebuild and re-sign everything.',
      ),
  })
  .meta({
    'x-kubernetes-validations': [
      {
        rule: '!(has(self.dra) && has(self.devicePlugin))',
        message: 'spec.dra and spec.devicePlugin are mutually exclusive',
      },
    ],
  });

/** The spec of a Module, with defaults filled in. */
export type ModuleSpec = z.output<typeof moduleSpec>;
export type ModuleLoader = NonNullable<ModuleSpec['moduleLoader']>;
export type ModuleLoaderContainer = ModuleLoader['container'];
/** What a container of a plugin for the kubelet is configured with. */
export type OperandContainer = z.output<typeof operandContainer>;
export type DevicePlugin = NonNullable<ModuleSpec['devicePlugin']>;
export type DraDriver = NonNullable<ModuleSpec['dra']>;
export type DeviceClassSpec = z.output<typeof deviceClass>;
