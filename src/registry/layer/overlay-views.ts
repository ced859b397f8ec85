import type { ExtractionTree } from './extraction-tree.ts';
import { FileNames } from './file-names.ts';
import type { ImageEntries } from './image-entries.ts';
import { entryOf, kindOf, kinds, type NodeCode } from './node-code.ts';
import type { PathNumbers, PathTable } from './path-table.ts';
import type { StepBudget } from './step-budget.ts';
import { TreeView, type Found } from './tree-view.ts';

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
