import { nodeLabels, type ModuleName, type NodeLabels } from '../../../builder/labels.ts';
import { labelStem, labelValue } from '../../../builder/names.ts';

/** A Module, by what pods and nodes say of it. */
export interface IndexedModule {
  readonly module: ModuleName;
  readonly stem: string;
  readonly keys: NodeLabels;
  /** False: there is no such Module any more, as far as is known. */
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
   * The Module that a pod's label names; one that is gone, too. Of a name that was shortened and is gone nothing
   * is known any more: that gives a Module that has no labels anywhere.
   */
  ofPod(namespace: string, value: string): IndexedModule {
    const known = this.#byPodLabel.get(podLabelKey(namespace, value));
    return known ?? describe({ namespace, name: value }, { exists: false });
  }

  /** `NAMESPACE/NAME` of the Module with a stem. The stem, where nothing tells more. */
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
