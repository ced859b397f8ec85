import type { Kernel } from './kernel.ts';
import { labelStem, labelValue } from './names.ts';

const domain = 'kmm.node.kubernetes.io';
const beta = 'beta.kmm.node.kubernetes.io';

/** Keys of labels and annotations on what we create. */
export const labelKeys = {
  moduleName: `${domain}/module.name`,
  role: `${domain}/role`,
  kernel: `${domain}/kernel-version.full`,
  targetKernel: `${domain}/target-kernel`,
  jobType: `${domain}/job-type`,
  /** Annotation: the hash of all that a Job depends on. */
  lastHash: `${domain}/last-hash`,
  /** Annotation on pods, read as a file: soft dependencies for modprobe. */
  modulesOrder: `${domain}/modules-order`,
  component: 'app.kubernetes.io/component',
} as const;

/** What names a Module. */
export interface ModuleName {
  readonly namespace: string;
  readonly name: string;
}

/** Keys of the labels that a Module has on nodes. */
export interface NodeLabels {
  /** The kernel module is loaded. */
  readonly ready: string;
  readonly devicePluginReady: string;
  /** Value: the version that is loaded. */
  readonly versionReady: string;
  /** Set by administrators: the version that the node should have. */
  readonly version: string;
  /** Set by us: the version whose module loader may run on the node. */
  readonly moduleLoaderVersion: string;
  /** Set by us: the version whose device plugin may run on the node. */
  readonly devicePluginVersion: string;
}

/** The keys of a Module's labels on nodes. */
export function nodeLabels({ namespace, name }: ModuleName): NodeLabels {
  const stem = labelStem(namespace, name);
  return {
    ready: `${domain}/${stem}.ready`,
    devicePluginReady: `${domain}/${stem}.device-plugin-ready`,
    versionReady: `${domain}/${stem}.version.ready`,
    version: `${domain}/version-module.${stem}`,
    moduleLoaderVersion: `${beta}/version-module-loader.${stem}`,
    devicePluginVersion: `${beta}/version-device-plugin.${stem}`,
  };
}

/** The value of the kernel label of nodes and DaemonSets. Different kernels have different values. */
export function kernelLabelValue({ release }: Kernel): string {
  return labelValue(release);
}

/** Labels of everything that belongs to one Module and does one thing. */
export function commonLabels(name: string, component: string): Record<string, string> {
  return {
    [labelKeys.moduleName]: labelValue(name),
    'app.kubernetes.io/name': 'kmm',
    'app.kubernetes.io/part-of': 'kmm',
    [labelKeys.component]: component,
  };
}
