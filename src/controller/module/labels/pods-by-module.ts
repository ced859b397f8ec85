import { labelKeys } from '../../../builder/labels.ts';
import type { PodFacts } from '../../observe/cluster/projections.ts';
import { devicePluginRole } from '../loading/device-plugin.ts';
import { moduleLoaderRole } from '../loading/module-loader.ts';
import type { IndexedModule, ModuleIndex } from './module-index.ts';

/** What the pods of one Module on one node say. */
export interface ModulePods {
  readonly indexed: IndexedModule;
  hasModuleLoaderPod: boolean;
  hasDevicePluginPod: boolean;
  /** The module is loaded, by a pod made for the kernel that the node runs. */
  isLoaded: boolean;
  isDevicePluginReady: boolean;
  /** Versions of the pods by which the module is loaded. */
  readonly loadedVersions: Set<string>;
}

/** Whether a pod's state shows in labels of its node. */
export function isOperandPod({ labels }: PodFacts): boolean {
  const role = labels[labelKeys.role];
  return role === moduleLoaderRole || role === devicePluginRole;
}

/** What the pods on a node say of each Module, by stem. `kernel` is the value of the node's kernel label. */
export function podsByModule(
  pods: readonly PodFacts[],
  modules: ModuleIndex,
  kernel: string | undefined,
): Map<string, ModulePods> {
  const found = new Map<string, ModulePods>();
  for (const pod of pods) {
    // A pod that has ended runs nothing: it neither shows that a module is loaded, nor has anything to wait for.
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
    hasDevicePluginPod: false,
    isLoaded: false,
    isDevicePluginReady: false,
    loadedVersions: new Set(),
  };
}

function addPod(known: ModulePods, pod: PodFacts, kernel: string | undefined): void {
  const works = pod.ready && !pod.deleting;
  if (pod.labels[labelKeys.role] === devicePluginRole) {
    known.hasDevicePluginPod = true;
    known.isDevicePluginReady ||= works;
    return;
  }
  known.hasModuleLoaderPod = true;
  // After a reboot into another kernel the old pod counts as ready until the kubelet says otherwise.
  if (!works || kernel === undefined || pod.labels[labelKeys.kernel] !== kernel) return;
  known.isLoaded = true;
  const version = pod.labels[known.indexed.keys.moduleLoaderVersion];
  if (version !== undefined) known.loadedVersions.add(version);
}
