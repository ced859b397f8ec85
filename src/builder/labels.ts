import type { Kernel } from './kernel.ts';
import { maxLabelLength } from '../api/validation/patterns.ts';
import { isLabelStem, labelStem, labelValue, shortStem } from './names.ts';

const domain = 'kmm.node.kubernetes.io';
const beta = 'beta.kmm.node.kubernetes.io';

/** Keys of labels and annotations on the objects we create. */
export const labelKeys = {
  moduleName: `${domain}/module.name`,
  /** On DeviceClasses, which have no namespace: that of their Module. */
  moduleNamespace: `${domain}/module.namespace`,
  role: `${domain}/role`,
  kernel: `${domain}/kernel-version.full`,
  targetKernel: `${domain}/target-kernel`,
  jobType: `${domain}/job-type`,
  /** On the Jobs of a hub: the hash of the image's name. */
  image: `${domain}/image`,
  /** On ManifestWorks. */
  managedClusterModule: `${domain}/managedclustermodule.name`,
  /** Annotation: the hash of everything that a Job depends on. */
  lastHash: `${domain}/last-hash`,
  /** Annotation on Jobs: the hash of the versions of the Secrets that it mounts. */
  secretsVersion: `${domain}/secrets-version`,
  /** Annotation on pods, read as a file: soft dependencies for modprobe. */
  modulesOrder: `${domain}/modules-order`,
  /** On the pods of module loaders: `load`, or `unload` if they only clean their node. */
  loaderMode: `${domain}/loader-mode`,
  /** Annotation on module loaders' DaemonSets: the hash of what the Module and its nodes want. */
  loaderInputs: `${domain}/loader-inputs`,
  /** Annotation on them: the hash of the DaemonSet, which also depends on the operator's version. */
  loaderContent: `${domain}/loader-content`,
  /** Annotation on DaemonSets: the hash of the template that pods of KMM are kept beside. */
  takenOver: 'kmm.sigs.x-k8s.io/taken-over',
  /** Annotation on DaemonSets: how many pods of a deleted one of the same name have not ended. */
  earlierPods: 'kmm.sigs.x-k8s.io/earlier-pods',
  component: 'app.kubernetes.io/component',
  /** On all our objects; KMM 1.x has no such label. */
  partOf: 'app.kubernetes.io/part-of',
} as const;

/** Identifies a Module. */
export interface ModuleName {
  readonly namespace: string;
  readonly name: string;
}

/** Keys of a Module's labels on nodes. */
export interface NodeLabels {
  /** The kernel module is loaded. */
  readonly ready: string;
  readonly devicePluginReady: string;
  /** The driver for dynamic resource allocation runs. */
  readonly draReady: string;
  /** Value: the version that is loaded. */
  readonly versionReady: string;
  /** Set by administrators: the version that the node should run. */
  readonly version: string;
  /** Set by us: the version whose module loader may run on the node. */
  readonly moduleLoaderVersion: string;
  /** Set by us: the version whose device plugin or driver for dynamic resource allocation may run on the node. */
  readonly devicePluginVersion: string;
}

/** What precedes and follows a Module's stem in the keys. */
const nodeLabelForms = {
  version: { start: `${domain}/version-module.`, end: '' },
  moduleLoaderVersion: { start: `${beta}/version-module-loader.`, end: '' },
  devicePluginVersion: { start: `${beta}/version-device-plugin.`, end: '' },
  devicePluginReady: { start: `${domain}/`, end: '.device-plugin-ready' },
  draReady: { start: `${domain}/`, end: '.dra-ready' },
  versionReady: { start: `${domain}/`, end: '.version.ready' },
  ready: { start: `${domain}/`, end: '.ready' },
} as const satisfies Record<keyof NodeLabels, { readonly start: string; readonly end: string }>;

/** The order in which a key is matched: what administrators set first, and longer suffixes before shorter. */
const readingOrder = [
  'version',
  'moduleLoaderVersion',
  'devicePluginVersion',
  'devicePluginReady',
  'draReady',
  'versionReady',
  'ready',
] as const satisfies readonly (keyof NodeLabels)[];

/** Returns the keys of a Module's labels on nodes. */
export function nodeLabels({ namespace, name }: ModuleName): NodeLabels {
  return nodeLabelsOf(labelStem(namespace, name));
}

/** Returns the keys of the node labels with a given stem. */
export function nodeLabelsOf(stem: string): NodeLabels {
  const keyOf = (kind: keyof NodeLabels): string => {
    const { start, end } = nodeLabelForms[kind];
    const key = `${start}${stem}${end}`;
    // A Module with so long a name cannot have a version: it needs a valid key, which nobody sets.
    const isTooLong = key.length - key.indexOf('/') - 1 > maxLabelLength;
    return isTooLong ? `${start}${shortStem([stem])}${end}` : key;
  };
  return {
    ready: keyOf('ready'),
    devicePluginReady: keyOf('devicePluginReady'),
    draReady: keyOf('draReady'),
    versionReady: keyOf('versionReady'),
    version: keyOf('version'),
    moduleLoaderVersion: keyOf('moduleLoaderVersion'),
    devicePluginVersion: keyOf('devicePluginVersion'),
  };
}

/** The kind and stem of a node label's key. */
export interface ParsedNodeLabel {
  readonly kind: keyof NodeLabels;
  readonly stem: string;
}

/**
 * Parses the key of a Module's label on nodes. Returns undefined for anything that `nodeLabels` does not
 * produce, such as the `MODULE.ready` of other operators. An ambiguous key is taken as the one that an
 * administrator sets.
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

/** Returns the value of the kernel label on nodes and DaemonSets. Different kernels have different values. */
export function kernelLabelValue({ release }: Kernel): string {
  return labelValue(release);
}

/** Returns the labels shared by a Module's objects of one component. */
export function commonLabels(name: string, component: string): Record<string, string> {
  return {
    [labelKeys.moduleName]: labelValue(name),
    'app.kubernetes.io/name': 'kmm',
    [labelKeys.partOf]: 'kmm',
    [labelKeys.component]: component,
  };
}
