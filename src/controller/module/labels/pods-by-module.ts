import { labelKeys, nodeLabels, type ModuleName, type NodeLabels } from '../../../builder/labels.ts';
import type { PodFacts } from '../../observe/cluster/projections.ts';
import { devicePluginRole } from '../loading/device-plugin.ts';
import { draDriverRole } from '../loading/dra-driver.ts';
import { moduleLoaderRole } from '../loading/module-loader.ts';
import { labelStem, labelValue } from '../../../builder/names.ts';

/** What the pods of one Module on one node show. */
export interface ModulePods {
  readonly indexed: IndexedModule;
  hasModuleLoaderPod: boolean;
  /** Whether a device plugin, or a driver for dynamic resource allocation, is there. */
  hasPluginPod: boolean;
  /** Whether the module is loaded, by a pod for the kernel that the node runs. */
  isLoaded: boolean;
  isDevicePluginReady: boolean;
  isDraDriverReady: boolean;
  /** Versions of the pods that have loaded the module. */
  readonly loadedVersions: Set<string>;
}

/** Returns whether a pod's state is reflected in labels of its node. */
export function isOperandPod({ labels }: PodFacts): boolean {
  const role = labels[labelKeys.role];
  return role === moduleLoaderRole || isPluginRole(role);
}

function isPluginRole(role: string | undefined): boolean {
  return role === devicePluginRole || role === draDriverRole;
}

/**
 * Returns what a node's pods show of each Module, by stem. `kernel` is the value of the node's kernel label.
 */
export function podsByModule(
  pods: readonly PodFacts[],
  modules: ModuleIndex,
  kernel: string | undefined,
): Map<string, ModulePods> {
  const found = new Map<string, ModulePods>();
  for (const pod of pods) {
    // A pod that has ended runs nothing: it does not show that a module is loaded, and nothing waits for it.
    if (!isOperandPod(pod) || pod.phase === 'Succeeded' || pod.phase === 'Failed') continue;
    const { namespace } = pod.key;
    const name = pod.labels[labelKeys.moduleName];
    if (namespace === undefined || name === undefined) continue;
    const indexed = modules.ofPod(namespace, name);
    const known = found.get(indexed.stem) ?? nothingOf(indexed);
    found.set(indexed.stem, known);
    addPod(known, pod, kernel);
  }
  return found;
}

function nothingOf(indexed: IndexedModule): ModulePods {
  return {
    indexed,
    hasModuleLoaderPod: false,
    hasPluginPod: false,
    isLoaded: false,
    isDevicePluginReady: false,
    isDraDriverReady: false,
    loadedVersions: new Set(),
  };
}

function addPod(known: ModulePods, pod: PodFacts, kernel: string | undefined): void {
  const works = pod.ready && !pod.deleting;
  const role = pod.labels[labelKeys.role];
  if (isPluginRole(role)) {
    known.hasPluginPod = true;
    if (role === draDriverRole) known.isDraDriverReady ||= works;
    else known.isDevicePluginReady ||= works;
    return;
  }
  known.hasModuleLoaderPod = true;
  // After a reboot into another kernel, the old pod counts as ready until the kubelet reports otherwise.
  if (pod.labels[labelKeys.loaderMode] === 'unload') return;
  if (!works || kernel === undefined || pod.labels[labelKeys.kernel] !== kernel) return;
  known.isLoaded = true;
  const version = pod.labels[known.indexed.keys.moduleLoaderVersion];
  if (version !== undefined) known.loadedVersions.add(version);
}

/** A Module as identified by labels of pods and nodes. */
export interface IndexedModule {
  readonly module: ModuleName;
  readonly stem: string;
  readonly keys: NodeLabels;
  /** False: as far as is known, the Module no longer exists. */
  readonly exists: boolean;
}

/** Finds Modules by the labels of pods and nodes, where long names are shortened. */
export class ModuleIndex {
  readonly #byPodLabel = new Map<string, IndexedModule>();
  readonly #byStem = new Map<string, IndexedModule>();

  add(module: ModuleName): void {
    const indexed = describe(module, { exists: true });
    this.#byPodLabel.set(podLabelKey(module.namespace, labelValue(module.name)), indexed);
    this.#byStem.set(indexed.stem, indexed);
  }

  delete({ namespace, name }: ModuleName): void {
    this.#byPodLabel.delete(podLabelKey(namespace, labelValue(name)));
    this.#byStem.delete(labelStem(namespace, name));
  }

  /**
   * Returns the Module that a pod's label names, even if it was deleted. The full name of a deleted one whose
   * label is shortened is unknown: the result is then a Module that has no labels anywhere.
   */
  ofPod(namespace: string, value: string): IndexedModule {
    const known = this.#byPodLabel.get(podLabelKey(namespace, value));
    return known ?? describe({ namespace, name: value }, { exists: false });
  }

  /** Returns `NAMESPACE/NAME` of the Module with a stem, derived from the stem if the Module is unknown. */
  nameOf(stem: string): string {
    const known = this.#byStem.get(stem)?.module;
    return known === undefined ? stem.replace('.', '/') : `${known.namespace}/${known.name}`;
  }
}

function describe(module: ModuleName, { exists }: { readonly exists: boolean }): IndexedModule {
  return { module, stem: labelStem(module.namespace, module.name), keys: nodeLabels(module), exists };
}

function podLabelKey(namespace: string, value: string): string {
  return `${namespace}/${value}`;
}
