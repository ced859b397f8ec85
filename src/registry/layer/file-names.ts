import { RegistryError } from '../model/errors.ts';
import { entryOf, kinds } from './node-code.ts';
import type { PathTable } from './path-table.ts';
import type { StepBudget } from './step-budget.ts';
import type { TreeView } from './tree-view.ts';

/** Paths examined per step of the budget. */
const pathsPerStep = 16;

/** The numbers of a file's paths in each view. */
export interface FilePaths {
  readonly overlayfs: number[];
  readonly extraction: number[];
}

const viewNames = ['overlayfs', 'extraction'] as const;

/** Finds the names of files in both views. Files are identified by the numbers of their entries. */
export class FileNames {
  readonly #paths: PathTable;
  readonly #views: Readonly<Record<(typeof viewNames)[number], TreeView>>;
  readonly #steps: StepBudget;
  readonly #maxNames: number;

  constructor(
    paths: PathTable,
    views: Readonly<Record<(typeof viewNames)[number], TreeView>>,
    { steps, maxNames }: { readonly steps: StepBudget; readonly maxNames: number },
  ) {
    this.#paths = paths;
    this.#views = views;
    this.#steps = steps;
    this.#maxNames = maxNames;
  }

  /** Finds the paths in each view that have a node of the given kind and an accepted name. */
  async find(kind: number, accepts: (name: string) => boolean): Promise<FilePaths> {
    const found: FilePaths = { overlayfs: [], extraction: [] };
    for (const view of viewNames) {
      for (const path of this.#views[view].pathsOf(kind)) {
        if (accepts(this.#paths.nameOf(path))) found[view].push(path);
        this.#refuseTooMany(found[view].length);
        await this.#tick(path);
      }
    }
    return found;
  }

  /** Returns all paths of the given files. @throws RegistryError LIMIT_EXCEEDED */
  of(entries: ReadonlySet<number>): Map<number, FilePaths> {
    this.#steps.take(Math.ceil(this.#paths.size / pathsPerStep));
    const names = new Map<number, FilePaths>();
    for (const entry of entries) names.set(entry, { overlayfs: [], extraction: [] });
    let count = 0;
    for (const view of viewNames) {
      const tree = this.#views[view];
      for (const path of tree.pathsOf(kinds.file)) {
        const known = names.get(entryOf(tree.nodeAt(path)) ?? -1);
        if (known === undefined) continue;
        known[view].push(path);
        this.#refuseTooMany(++count / viewNames.length);
      }
    }
    return names;
  }

  async #tick(path: number): Promise<void> {
    if (path % pathsPerStep === 0) this.#steps.take();
    if (this.#steps.isPauseDue) await this.#steps.pause();
  }

  #refuseTooMany(count: number): void {
    if (count <= this.#maxNames) return;
    throw new RegistryError({
      code: 'LIMIT_EXCEEDED',
      message: `The image has more than ${this.#maxNames} names of files that may be kernel modules`,
      hint: 'Name the files with --file.',
      facts: { maxNames: this.#maxNames },
    });
  }
}
