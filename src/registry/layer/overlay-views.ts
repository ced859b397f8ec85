import type { ImageEntries } from './entry-list.ts';
import type { ExtractionTree } from './extraction-tree.ts';
import { entryOf, kindOf, kinds, type NodeCode } from './node-code.ts';
import type { PathNumbers, PathTable } from './path-table.ts';
import type { StepBudget } from './step-budget.ts';
import { TreeView, type Found } from './tree-view.ts';
import { RegistryError } from '../model/errors.ts';

/** What containers see once all layers are known. */
export interface Views {
  readonly overlayfs: TreeView;
  readonly extraction: TreeView;
  readonly names: FileNames;
}

interface ViewsOptions {
  readonly paths: PathTable;
  readonly entries: ImageEntries;
  /** What overlayfs shows at each path; completed in place. */
  readonly mounted: PathNumbers;
  /** The tree that extracted each layer into a directory of its own, to be reused. */
  readonly tree: ExtractionTree;
  readonly steps: StepBudget;
  readonly maxNames: number;
}

/** Builds the views: extracts all layers into one directory, once, from the lowest upwards. */
export async function makeViews({ paths, entries, tree, ...options }: ViewsOptions): Promise<Views> {
  const { mounted, steps, maxNames } = options;
  const foreign = foreignLinks(mounted, paths.size);
  tree.beginOneDirectory();
  for (const { list, start } of entries.fromBase()) {
    tree.beginLayer();
    for (let index = 0; index < list.length; index++) {
      const placement = tree.apply(list, index, start + index);
      if (placement !== undefined && foreign.has(start + index))
        foreign.set(start + index, tree.nodeAt(placement.path));
      steps.take();
      if (steps.isPauseDue) await steps.pause();
    }
  }
  const extracted = tree.finish();
  for (let path = 0; path < paths.size; path++) {
    const node = mounted[path] ?? 0;
    if (kindOf(node) === kinds.whiteout) mounted[path] = 0;
    if (kindOf(node) === kinds['foreign-link']) mounted[path] = foreign.get(entryOf(node) ?? -1) ?? 0;
  }
  const treeOptions = { targetOf: (node: NodeCode) => entries.targetOf(node), steps };
  const overlayfs = new TreeView(paths, mounted, treeOptions);
  const extraction = new TreeView(paths, extracted, treeOptions);
  return {
    overlayfs,
    extraction,
    names: new FileNames(paths, { overlayfs, extraction }, { steps, maxNames }),
  };
}

/**
 * Collects hard links whose target is not in their own layer, which no overlayfs snapshotter could unpack. We
 * show what the extraction into one directory makes of them.
 */
function foreignLinks(mounted: PathNumbers, size: number): Map<number, NodeCode> {
  const links = new Map<number, NodeCode>();
  for (let path = 0; path < size; path++) {
    const node = mounted[path] ?? 0;
    if (kindOf(node) === kinds['foreign-link']) links.set(entryOf(node) ?? -1, 0);
  }
  return links;
}

/** Tells whether a path leads to the same thing in two views. */
export function isSameFound(first: Found, second: Found): boolean {
  if (first.state === 'file') return second.state === 'file' && entryOf(first.node) === entryOf(second.node);
  if (first.state === 'other') return second.state === 'other' && first.type === second.type;
  return second.state === 'absent';
}

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
