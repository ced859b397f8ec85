import type { Kernel } from './kernel.ts';
import { isLabelStem, labelStem, labelValue } from './names.ts';

const domain = 'kmm.node.kubernetes.io';
const beta = 'beta.kmm.node.kubernetes.io';

/** Keys of labels and annotations on what we create. */
export const labelKeys = {
  moduleName: `${domain}/module.name`,
  role: `${domain}/role`,
  kernel: `${domain}/kernel-version.full`,
  targetKernel: `${domain}/target-kernel`,
  jobType: `${domain}/job-type`,
  /** On the Jobs of a hub: the hash of the image's name. */
  image: `${domain}/image`,
  /** On ManifestWorks. */
  managedClusterModule: `${domain}/managedclustermodule.name`,
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

/** What stands before and after a Module's stem in the keys. */
const nodeLabelForms = {
  version: { start: `${domain}/version-module.`, end: '' },
  moduleLoaderVersion: { start: `${beta}/version-module-loader.`, end: '' },
  devicePluginVersion: { start: `${beta}/version-device-plugin.`, end: '' },
  devicePluginReady: { start: `${domain}/`, end: '.device-plugin-ready' },
  versionReady: { start: `${domain}/`, end: '.version.ready' },
  ready: { start: `${domain}/`, end: '.ready' },
} as const satisfies Record<keyof NodeLabels, { readonly start: string; readonly end: string }>;

/** In the order in which a key is read: what administrators set first, and longer ends before shorter ones. */
const readingOrder = [
  'version',
  'moduleLoaderVersion',
  'devicePluginVersion',
  'devicePluginReady',
  'versionReady',
  'ready',
] as const satisfies readonly (keyof NodeLabels)[];

/** The keys of a Module's labels on nodes. */
export function nodeLabels({ namespace, name }: ModuleName): NodeLabels {
  return nodeLabelsOf(labelStem(namespace, name));
}

/** The keys of the labels on nodes that have a stem. */
export function nodeLabelsOf(stem: string): NodeLabels {
  const keyOf = (kind: keyof NodeLabels): string => {
    const { start, end } = nodeLabelForms[kind];
    return `${start}${stem}${end}`;
  };
  return {
    ready: keyOf('ready'),
    devicePluginReady: keyOf('devicePluginReady'),
    versionReady: keyOf('versionReady'),
    version: keyOf('version'),
    moduleLoaderVersion: keyOf('moduleLoaderVersion'),
    devicePluginVersion: keyOf('devicePluginVersion'),
  };
}

/** Which of a Module's labels on nodes a key is. */
export interface ParsedNodeLabel {
  readonly kind: keyof NodeLabels;
  readonly stem: string;
}

/**
 * Reads the key of a Module's label on nodes. Undefined: nothing that `nodeLabels` gives, such as the
 * `MODULE.ready` of other operators. Where a key may be two things, it is what an administrator sets.
 */
export function parseNodeLabel(key: string): ParsedNodeLabel | undefined {
  for (const kind of readingOrder) {
    const { start, end } = nodeLabelForms[kind];
    if (!key.startsWith(start) || !key.endsWith(end)) continue;
    const stem = key.slice(start.length, key.length - end.length);
    if (isLabelStem(stem)) return { kind, stem };
  }
  return undefined;
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
