import type { EntryList } from './entry-list.ts';
import type { ExtractionTree, Placement } from './extraction-tree.ts';
import {
  asCertain,
  asOpaque,
  entryOf,
  impliedDirectory,
  isCertain,
  isDirectory,
  isOpaque,
  kindOf,
  kinds,
  type NodeCode,
} from './node-code.ts';
import { resized, type PathNumbers, type PathTable, whiteoutPrefix } from './path-table.ts';
import { PathWalk, type WalkedTree } from './path-walk.ts';
import type { StepBudget } from './step-budget.ts';
import { describeEnd, type Found } from './tree-view.ts';

/**
 * What overlayfs shows of stacked directories (Documentation/filesystems/overlayfs.rst), built from the top
 * down: the cost of adding a directory is proportional to its content.
 */
export class MergedTree {
  readonly #paths: PathTable;
  /** The topmost node at each path. A directory is marked opaque if it contains nothing from lower layers. */
  #nodes: PathNumbers = Int32Array.of(impliedDirectory);
  /** The lowest layer so far that contributes to the directory at a path, counted from 1 at the top. */
  #part: PathNumbers = Int32Array.of(0);
  #count = 0;

  constructor(paths: PathTable) {
    this.#paths = paths;
  }

  nodeAt(path: number): NodeCode {
    return this.#nodes[path] ?? 0;
  }

  /** The node at each path. */
  get nodes(): PathNumbers {
    return this.#nodes;
  }

  /**
   * Adds a layer's directory below the existing ones.
   * @param paths the paths of everything in it, directories first
   */
  addBelow(paths: Uint32Array, nodeAt: (path: number) => NodeCode): void {
    this.#count += 1;
    this.#nodes = resized(this.#nodes, this.#paths.size);
    this.#part = resized(this.#part, this.#paths.size);
    for (const path of paths) {
      const node = nodeAt(path);
      if (path === 0) this.#mergeDirectory(0, this.#nodes[0] ?? 0, node);
      else if (node !== 0 && this.#part[this.#paths.parentOf(path)] === this.#count) this.#merge(path, node);
    }
  }

  #merge(path: number, node: NodeCode): void {
    const above = this.#nodes[path] ?? 0;
    if (above === 0) {
      this.#nodes[path] = node;
      if (isDirectory(node)) this.#part[path] = this.#count;
    } else if (isDirectory(above)) {
      if (isDirectory(node)) this.#mergeDirectory(path, above, node);
      else this.#nodes[path] = asOpaque(above);
    }
  }

  #mergeDirectory(path: number, above: NodeCode, node: NodeCode): void {
    if (isOpaque(above)) return;
    this.#part[path] = this.#count;
    const merged = entryOf(above) === undefined ? node : above;
    this.#nodes[path] = isOpaque(node) ? asOpaque(merged) : merged;
  }
}

/** Limit of names whose location is unknown; beyond it, nothing is resolved early. */
const maxDoubtfulNames = 50_000;

/**
 * Resolves paths whose result no lower layer, not yet read, can change in any view. A path is certain if its
 * own layer has entries for its directories, as most tools write them. An entry below a directory that its
 * layer does not contain may end up anywhere, since a lower layer may have a symbolic link there: its names
 * become doubtful.
 */
export class EarlyResolver {
  readonly #paths: PathTable;
  readonly #merged: MergedTree;
  readonly #walk: PathWalk;
  readonly #doubtfulNames = new Set<string>();
  #nothingIsCertain = false;
  /** Whether the current walk relied on something that may change. */
  #isUncertain = false;

  constructor(paths: PathTable, merged: MergedTree, steps: StepBudget) {
    this.#paths = paths;
    this.#merged = merged;
    this.#walk = new PathWalk(paths, steps);
  }

  /** Records an entry that was extracted into its layer's own directory. */
  record(placement: Placement, own: ExtractionTree, list: EntryList, index: number): void {
    const { trail, path, previous, followedLinks } = placement;
    const isPlaced = !followedLinks && trail.every((directory) => isCertain(own.nodeAt(directory)));
    const isWhiteout = this.#paths.isWhiteout(list.pathOf(index));
    const previousKind = kindOf(previous);
    // The views disagree about a directory that replaces something else, or a whiteout, of its own layer:
    // an extraction has removed what lower layers have there, overlayfs shows it.
    const isReplacedByDirectory =
      previous !== 0 && previousKind !== kinds.directory && list.kindOf(index) === kinds.directory;
    const isDisputed = isWhiteout
      ? previous !== 0 && previousKind !== kinds.whiteout
      : previousKind === kinds.whiteout || isReplacedByDirectory;
    if (isDisputed) this.#markDoubtful(this.#paths.nameOf(path));
    for (const directory of placement.createdOverWhiteouts) this.#markDoubtful(this.#paths.nameOf(directory));
    if (!isPlaced) this.#markEntryDoubtful(placement, own, list, index);
    else if (!placement.isOpaqueMarker && !list.isHardLink(index))
      own.mark(path, asCertain(own.nodeAt(path)));
  }

  /** Returns what a path refers to if no lower layer can change that, else undefined. */
  find(path: string, targetOf: (node: NodeCode) => string): Found | undefined {
    this.#isUncertain = this.#nothingIsCertain;
    const tree: WalkedTree = {
      enter: (at) => this.#enter(at),
      isDirectory: (at) => isDirectory(this.#merged.nodeAt(at)),
      targetOf,
    };
    const end = this.#walk.walkText(tree, path, true);
    if (this.#isUncertain) return undefined;
    if (end !== 'absent') return describeEnd(end, this.#walk, (at) => this.#merged.nodeAt(at));
    // An entry whose location is unknown may have created directories on its way, wherever links led it.
    if (this.#doubtfulNames.size > 0 || !this.#isAbsent()) return undefined;
    return describeEnd(end, this.#walk, (at) => this.#merged.nodeAt(at));
  }

  #enter(path: number): NodeCode {
    const node = this.#merged.nodeAt(path);
    const hidden = node === 0 && isOpaque(this.#merged.nodeAt(this.#paths.parentOf(path)));
    if (!hidden && !isCertain(node)) this.#isUncertain = true;
    if (this.#doubtfulNames.has(this.#paths.nameOf(path))) this.#isUncertain = true;
    return node;
  }

  /** Tells whether the walk ended where lower layers cannot change the result. */
  #isAbsent(): boolean {
    const node = this.#merged.nodeAt(this.#walk.at);
    if (node === 0 || kindOf(node) === kinds.whiteout) return true;
    return !isDirectory(node) || isOpaque(node);
  }

  #markEntryDoubtful(
    { trail, followedLinks, isOpaqueMarker }: Placement,
    own: ExtractionTree,
    list: EntryList,
    index: number,
  ): void {
    // It may hide anything.
    if (isOpaqueMarker) this.#nothingIsCertain = true;
    const written = list.pathOf(index);
    const names: string[] = [];
    for (let path = written; path !== 0; path = this.#paths.parentOf(path))
      names.push(this.#paths.nameOf(path));
    const firstUncertain = trail.findIndex((directory) => !isCertain(own.nodeAt(directory)));
    const doubtful = names.toReversed().slice((followedLinks ? 0 : firstUncertain) + 1);
    for (const name of doubtful) {
      this.#markDoubtful(name.startsWith(whiteoutPrefix) ? name.slice(whiteoutPrefix.length) : name);
    }
    if (list.isHardLink(index)) this.#markDoubtful(this.#paths.nameOf(list.linkPathOf(index)));
  }

  #markDoubtful(name: string): void {
    if (this.#doubtfulNames.size < maxDoubtfulNames) this.#doubtfulNames.add(name);
    else this.#nothingIsCertain = true;
  }
}
