import { nonEmpty } from '../../../api/schema/resource.ts';
import { parseKernel } from '../../../builder/kernel.ts';
import {
  kernelLabelValue,
  labelKeys,
  nodeLabelsOf,
  parseNodeLabel,
  type NodeLabels,
  type ParsedNodeLabel,
} from '../../../builder/labels.ts';
import type { NodeFacts, PodFacts } from '../../observe/cluster/projections.ts';
import { type ModuleIndex, podsByModule, type ModulePods } from './pods-by-module.ts';
import { nextVersionChange } from './version-labels.ts';

type Labels = Readonly<Record<string, string>>;
type Patch = Readonly<Record<string, string | null>>;

/** What the labels of a node depend on. */
export interface NodeState {
  readonly node: Pick<NodeFacts, 'labels' | 'kernelRelease'>;
  /** The pods on the node. */
  readonly pods: readonly PodFacts[];
  readonly modules: ModuleIndex;
}

/** The changes that make our labels on a node correct. */
export interface LabelChanges {
  /** A merge patch: null removes a label. Empty: nothing to change. */
  readonly labels: Patch;
  /** `NAMESPACE/NAME` of the Modules whose ready label is added. */
  readonly loaded: readonly string[];
}

/**
 * Compares a node's labels with its kernel and pods, in time proportional to the labels and pods of the node,
 * however many Modules there are.
 */
export function labelChanges({ node, pods, modules }: NodeState): LabelChanges {
  const kernel = node.kernelRelease === '' ? undefined : kernelLabelValue(parseKernel(node.kernelRelease));
  const found = podsByModule(pods, modules, kernel);
  const wanted = wantedLabels(node.labels, kernel, found);
  const ours = moduleLabels(node.labels);
  const labels = { ...difference(node.labels, ours, wanted), ...versionChanges(node.labels, ours, found) };
  return { labels, loaded: readyModules(node.labels, labels).map((stem) => modules.nameOf(stem)) };
}

/** Returns whether a label is one that we set, remove or act on. */
export function isRelevantLabel(key: string): boolean {
  return key === labelKeys.kernel || parseNodeLabel(key) !== undefined;
}

/** Returns the status labels that a node should have, with their values. */
function wantedLabels(
  labels: Labels,
  kernel: string | undefined,
  found: ReadonlyMap<string, ModulePods>,
): Map<string, string> {
  const wanted = new Map<string, string>();
  if (kernel !== undefined) wanted.set(labelKeys.kernel, kernel);
  for (const pods of found.values()) {
    const { indexed, isLoaded, isDevicePluginReady, isDraDriverReady, loadedVersions } = pods;
    const { keys, exists } = indexed;
    const want = (key: string, value: string): void => {
      // A pod keeps the labels of a Module that was deleted. It cannot add labels to the node: otherwise
      // whoever may create pods could give nodes labels of Modules that never existed.
      if (exists || key in labels) wanted.set(key, value);
    };
    if (isLoaded) want(keys.ready, '');
    if (isDevicePluginReady) want(keys.devicePluginReady, '');
    if (isDraDriverReady) want(keys.draReady, '');
    const [version] = loadedVersions;
    // If two versions are loaded at once, neither is reported.
    if (version !== undefined && loadedVersions.size === 1) want(keys.versionReady, version);
  }
  return wanted;
}

interface ModuleLabel extends ParsedNodeLabel {
  readonly key: string;
}

/** Returns the labels of Modules among all labels. */
function moduleLabels(labels: Labels): ModuleLabel[] {
  return Object.keys(labels).flatMap((key) => {
    const parsed = parseNodeLabel(key);
    return parsed === undefined ? [] : [{ key, ...parsed }];
  });
}

/** Returns the changes that turn the status labels into the wanted ones. */
function difference(
  labels: Labels,
  ours: readonly ModuleLabel[],
  wanted: ReadonlyMap<string, string>,
): Patch {
  const changes: Record<string, string | null> = {};
  for (const [key, value] of wanted) if (labels[key] !== value) changes[key] = value;
  for (const { key, kind } of ours) if (isStatusLabel(kind) && !wanted.has(key)) changes[key] = null;
  if (labelKeys.kernel in labels && !wanted.has(labelKeys.kernel)) changes[labelKeys.kernel] = null;
  return changes;
}

const statusLabels: readonly (keyof NodeLabels)[] = [
  'ready',
  'devicePluginReady',
  'draReady',
  'versionReady',
];

function isStatusLabel(kind: keyof NodeLabels): boolean {
  return statusLabels.includes(kind);
}

/**
 * Returns the next step for each Module that has a version label on the node. It depends only on the
 * administrator's label, not on the Module's version: nodes may have a version that the Module no longer has,
 * or does not have yet.
 */
function versionChanges(
  labels: Labels,
  ours: readonly ModuleLabel[],
  found: ReadonlyMap<string, ModulePods>,
): Patch {
  const stems = new Set(ours.filter(({ kind }) => !isStatusLabel(kind)).map(({ stem }) => stem));
  const changes: Record<string, string | null> = {};
  for (const stem of stems) {
    const keys = nodeLabelsOf(stem);
    const pods = found.get(stem);
    const change = nextVersionChange({
      wanted: nonEmpty(labels[keys.version]),
      moduleLoader: labels[keys.moduleLoaderVersion],
      devicePlugin: labels[keys.devicePluginVersion],
      hasModuleLoaderPod: pods?.hasModuleLoaderPod ?? false,
      hasDevicePluginPod: pods?.hasPluginPod ?? false,
    });
    if (change !== undefined) changes[keys[change.label]] = change.value;
  }
  return changes;
}

/** Returns the stems of the Modules whose ready label is added. */
function readyModules(labels: Labels, changes: Patch): string[] {
  return Object.entries(changes).flatMap(([key, value]) => {
    const parsed = value === null || key in labels ? undefined : parseNodeLabel(key);
    return parsed?.kind === 'ready' ? [parsed.stem] : [];
  });
}
