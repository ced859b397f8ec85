import type { V1CustomResourceColumnDefinition, V1CustomResourceDefinition } from '@kubernetes/client-node';
import { bootModuleConfigSpec, bootModuleConfigStatus } from '../boot-module-config.ts';
import { managedClusterModuleSpec, managedClusterModuleStatus } from '../managed-cluster-module.ts';
import { moduleSpec } from '../module/spec.ts';
import { moduleStatus } from '../module/module.ts';
import { nodeModulesConfigSpec, nodeModulesConfigStatus } from '../node-modules-config.ts';
import {
  preflightStatus,
  preflightValidationOcpSpec,
  preflightValidationSpec,
} from '../preflight-validation.ts';
import { conditionColumn, counterColumn } from './columns.ts';
import { customResourceDefinition, type CustomResource } from './custom-resource-definition.ts';

const group = 'kmm.sigs.x-k8s.io';
const oneVersion = [{ name: 'v1beta1', storage: true }];
const twoVersions = [
  { name: 'v1beta1', storage: false, deprecated: true },
  { name: 'v1beta2', storage: true },
];

const ready: V1CustomResourceColumnDefinition[] = [
  conditionColumn('Ready', 'Ready', 'status'),
  conditionColumn('Reason', 'Ready', 'reason'),
];
/** Shown only by kubectl get -o wide. */
const message = conditionColumn('Message', 'Ready', 'message', 1);

const resources: readonly CustomResource[] = [
  {
    group,
    kind: 'Module',
    plural: 'modules',
    shortNames: ['kmod'],
    scope: 'Namespaced',
    description:
      'A kernel module for the nodes of this cluster: the image for each kernel, and how it is built, signed and loaded.',
    versions: oneVersion,
    spec: moduleSpec,
    status: moduleStatus,
    columns: [
      ...ready,
      counterColumn('Desired', '.status.moduleLoader.desiredNumber'),
      counterColumn('Available', '.status.moduleLoader.availableNumber'),
      message,
    ],
  },
  {
    group,
    kind: 'NodeModulesConfig',
    plural: 'nodemodulesconfigs',
    shortNames: ['nmc'],
    scope: 'Cluster',
    description:
      'The kernel modules that a node should have, and those that it has. It is named as the node. The operator writes it for others to read; changing it has no effect.',
    versions: oneVersion,
    spec: nodeModulesConfigSpec,
    status: nodeModulesConfigStatus,
    columns: [],
  },
  {
    group,
    kind: 'BootModuleConfig',
    plural: 'bootmoduleconfigs',
    shortNames: ['bmc'],
    scope: 'Namespaced',
    description:
      'A kernel module that nodes of OpenShift load at boot, before their network starts. The operator writes a MachineConfig for it.',
    versions: oneVersion,
    spec: bootModuleConfigSpec,
    status: bootModuleConfigStatus,
    columns: [
      ...ready,
      { name: 'MachineConfig', type: 'string', jsonPath: '.spec.machineConfigName' },
      { name: 'Pool', type: 'string', jsonPath: '.spec.machineConfigPoolName' },
      message,
    ],
  },
  {
    group,
    kind: 'PreflightValidation',
    plural: 'preflightvalidations',
    shortNames: ['pfv'],
    scope: 'Cluster',
    description: 'Checks whether every Module would be ready for a kernel before any node runs it.',
    versions: twoVersions,
    spec: preflightValidationSpec,
    status: preflightStatus,
    columns: [{ name: 'Kernel', type: 'string', jsonPath: '.spec.kernelVersion' }, ...ready, message],
  },
  {
    group,
    kind: 'PreflightValidationOCP',
    plural: 'preflightvalidationsocp',
    shortNames: ['pfvo'],
    scope: 'Cluster',
    description: 'Checks whether every Module would be ready for the kernel of a release of OpenShift.',
    versions: twoVersions,
    spec: preflightValidationOcpSpec,
    status: preflightStatus,
    columns: [
      { name: 'Kernel', type: 'string', jsonPath: '.spec.kernelVersion' },
      { name: 'Release', type: 'string', jsonPath: '.spec.releaseImage', priority: 1 },
      ...ready,
      message,
    ],
  },
  {
    group: 'hub.kmm.sigs.x-k8s.io',
    kind: 'ManagedClusterModule',
    plural: 'managedclustermodules',
    shortNames: ['mcm'],
    scope: 'Cluster',
    description: 'A Module for the clusters that this hub manages. Images are built and signed here, once.',
    versions: oneVersion,
    spec: managedClusterModuleSpec,
    status: managedClusterModuleStatus,
    columns: [
      ...ready,
      counterColumn('Desired', '.status.numberDesired'),
      counterColumn('Applied', '.status.numberApplied'),
      counterColumn('Degraded', '.status.numberDegraded'),
      message,
    ],
  },
];

/** Returns the CustomResourceDefinitions for kernel modules: those of a cluster, and those of a hub. */
export function customResourceDefinitions(): V1CustomResourceDefinition[] {
  return resources.map(customResourceDefinition);
}
