import { labelKeys, type ModuleName } from '../../../builder/labels.ts';
import type { PodFacts } from '../../observe/cluster/projections.ts';
import { moduleLoaderRole } from '../loading/module-loader.ts';
import type { ModuleIndex } from './pods-by-module.ts';

/**
 * Returns whether a loader's pod has confirmed that its module is out of its node's kernel: one that was told to
 * end has ended without a failure, which it does after unloading, or one that only unloads is ready.
 */
function hasConfirmed({ labels, deleting, ready, terminated }: PodFacts): boolean {
  if (labels[labelKeys.role] !== moduleLoaderRole) return false;
  if (labels[labelKeys.loaderMode] === 'unload') return ready;
  // Loaders of KMM, which have no mode, end whether their modules are unloaded or not.
  return labels[labelKeys.loaderMode] === 'load' && deleting && terminated?.exitCode === 0;
}

/** Finds what loaders have unloaded from nodes. Several pods may confirm the same, one after the other. */
export class ConfirmedUnloads {
  /** By node: the Modules whose unloading was reported, as `NAMESPACE/NAME`. */
  readonly #reported = new Map<string, Set<string>>();

  /** Returns the Modules that have been unloaded from a node since the last time, as `NAMESPACE/NAME`. */
  take(node: string, pods: readonly PodFacts[], modules: ModuleIndex): string[] {
    const reported = this.#reported.get(node) ?? new Set();
    const confirmed = new Set<string>();
    for (const pod of pods.filter(hasConfirmed)) {
      const { namespace = '' } = pod.key;
      confirmed.add(nameOf(modules.ofPod(namespace, pod.labels[labelKeys.moduleName] ?? '').module));
    }
    const fresh = [...confirmed].filter((name) => !reported.has(name));
    for (const name of fresh) reported.add(name);
    if (reported.size > 0) this.#reported.set(node, reported);
    return fresh;
  }

  /** Remembers that a Module is loaded on a node, so that unloading it will be reported again. */
  loaded(node: string, names: readonly string[]): void {
    for (const name of names) this.#reported.get(node)?.delete(name);
  }

  /** Forgets a node that is gone. */
  forget(node: string): void {
    this.#reported.delete(node);
  }
}

function nameOf({ namespace, name }: ModuleName): string {
  return `${namespace}/${name}`;
}
