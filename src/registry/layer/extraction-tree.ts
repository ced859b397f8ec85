import { invalidEntry, type EntryList, type ImageEntries } from './entry-list.ts';
import {
  asOpaque,
  entryOf,
  impliedDirectory,
  isDirectory,
  kindOf,
  kinds,
  nodeOf,
  withOpacityOf,
  type NodeCode,
} from './node-code.ts';
import { PathWalk, type WalkedTree } from './path-walk.ts';
import { grown, whiteoutPrefix, type PathNumbers, type PathTable } from './path-table.ts';
import type { StepBudget } from './step-budget.ts';
import { TreeState } from './tree-view.ts';

const opaqueName = '.wh..wh..opq';

/** Where an extraction placed an entry. */
export interface Placement {
  /** Physical paths of its ancestor directories. */
  readonly trail: readonly number[];
  readonly followedLinks: boolean;
  /** The physical path; for a whiteout, that of what it hides. */
  readonly path: number;
  readonly isOpaqueMarker: boolean;
  /** What the entry, a whiteout or a directory, found there from the same layer. */
  readonly previous: NodeCode;
  /** Ancestor directories that were created in place of whiteouts of the same layer. */
  readonly createdOverWhiteouts: readonly number[];
}

/**
 * A directory that layers are extracted into, entry by entry (image-spec, layer.md; containerd's
 * archive.Apply): symbolic links in parent paths are followed, missing parents are created.
 *
 * Nothing is ever removed node by node. Every extraction has a number. A path keeps the number of the last
 * one that put something at or below it, and a directory that of the first one that is visible in it:
 * everything older is hidden, at any depth.
 */
export class ExtractionTree {
  readonly #paths: PathTable;
  readonly #entries: ImageEntries;
  #hasWhiteouts = true;
  readonly #parent: PathWalk;
  readonly #target: PathWalk;
  readonly #state = new TreeState();
  /** The effective `hidden` time of each directory of the trail, including those above it. */
  readonly #hiddenOnTrail: number[] = [];
  #createdOverWhiteouts: number[] = [];
  #time = 1;
  #layerStart = 1;
  /** The paths that the layer has touched, root first. */
  #touchedPaths = new Uint32Array(256);
  #touchedCount = 0;
  /** Files with more than one name, by their entries. */
  readonly linked: Set<number>;

  /** Starts with a separate directory for each layer, as for overlayfs, in which whiteouts are nodes. */
  constructor(
    paths: PathTable,
    entries: ImageEntries,
    options: { readonly steps: StepBudget; readonly linked: Set<number> },
  ) {
    this.#paths = paths;
    this.#entries = entries;
    this.#parent = new PathWalk(paths, options.steps);
    this.#target = new PathWalk(paths, options.steps);
    this.linked = options.linked;
  }

  /** Begins the next layer; in a directory of its own if whiteouts are kept. */
  beginLayer(): void {
    this.#time += 1;
    this.#layerStart = this.#time;
    this.#touchedPaths[0] = 0;
    this.#touchedCount = 1;
    this.#resize();
    if (this.#hasWhiteouts) this.#empty();
  }

  /** Switches to one directory for all layers, lowest first, in which whiteouts remove lower content. */
  beginOneDirectory(): void {
    this.#time += 1;
    this.#hasWhiteouts = false;
    this.#resize();
    this.#empty();
  }

  #empty(): void {
    this.#state.nodes[0] = impliedDirectory;
    this.#state.hidden[0] = this.#time;
  }

  /** Extracts the next entry, by its number in the image. @throws RegistryError INVALID_LAYER */
  apply(list: EntryList, index: number, entry: number): Placement | undefined {
    this.#time += 1;
    if (this.#createdOverWhiteouts.length > 0) this.#createdOverWhiteouts = [];
    this.#resize();
    const written = list.pathOf(index);
    const kind = list.kindOf(index);
    if (written === 0) {
      if (kind === kinds.directory)
        this.#state.nodes[0] = withOpacityOf(nodeOf(kind, entry), this.#state.nodes[0] ?? 0);
      return undefined;
    }
    return this.#paths.isWhiteout(written) ? this.#hide(list, index, entry) : this.#place(list, index, entry);
  }

  mark(path: number, node: NodeCode): void {
    this.#state.nodes[path] = node;
  }

  nodeAt(path: number): NodeCode {
    return this.#state.nodes[path] ?? 0;
  }

  /** Ends a layer. Returns the paths that it touched, directories first; `nodeAt` tells what is there. */
  endLayer(): Uint32Array {
    const paths = this.#touchedPaths.subarray(0, this.#touchedCount).toSorted();
    for (const path of paths.subarray(1)) this.#state.settle(path, this.#paths.parentOf(path));
    return paths;
  }

  /** Ends the extraction. Returns the node at each path. The tree must not be used afterwards. */
  finish(): PathNumbers {
    this.#resize();
    for (let path = 1; path < this.#paths.size; path++) this.#state.settle(path, this.#paths.parentOf(path));
    return this.#state.nodes;
  }

  #place(list: EntryList, index: number, entry: number): Placement {
    const written = list.pathOf(index);
    this.#findParent(list, index, true);
    const directory = this.#parent.at;
    const path = this.#below(directory, written);
    const present = this.#present(path);
    for (const ancestor of this.#parent.trail) this.#touch(ancestor);
    const kind = list.kindOf(index);
    const placement = this.#placement(path, present);
    this.#touch(path);
    if (kind === kinds.directory && isDirectory(present)) {
      this.#state.nodes[path] = withOpacityOf(nodeOf(kind, entry), present);
      return placement;
    }
    if (kind === kinds.directory) this.#state.hidden[path] = this.#time;
    // The previous node is removed before a hard link's target is looked up.
    this.#state.nodes[path] = 0;
    this.#state.nodes[path] = list.isHardLink(index)
      ? this.#linkTarget(list, index, entry)
      : nodeOf(kind as Exclude<typeof kind, 15>, entry);
    return placement;
  }

  #linkTarget(list: EntryList, index: number, entry: number): NodeCode {
    const tree = this.#lookup([]);
    const end = this.#target.walkWritten(tree, list.linkPathOf(index), false);
    if (end !== 'found') {
      if (this.#hasWhiteouts) return nodeOf(kinds['foreign-link'], entry);
      throw invalidEntry(list.toEntry(index), 'is a hard link to a file that does not exist');
    }
    const node = this.#state.nodes[this.#target.at] ?? 0;
    if (isDirectory(node)) throw invalidEntry(list.toEntry(index), 'is a hard link to a directory');
    const target = entryOf(node);
    if (target !== undefined && kindOf(node) === kinds.file) this.linked.add(target);
    return node;
  }

  #hide(list: EntryList, index: number, entry: number): Placement | undefined {
    const written = list.pathOf(index);
    const name = this.#paths.nameOf(written);
    const hiddenName = name.slice(whiteoutPrefix.length);
    if (hiddenName === '' || hiddenName === '.' || hiddenName === '..')
      throw invalidEntry(list.toEntry(index), 'is a whiteout of nothing');
    // Extracting a layer into a directory of its own creates the parents of whiteouts, too.
    if (!this.#findParent(list, index, this.#hasWhiteouts)) return undefined;
    const directory = this.#parent.at;
    if (name === opaqueName) return this.#hideAll(directory);
    const path = this.#hasWhiteouts
      ? this.#paths.add(directory, hiddenName)
      : this.#paths.find(directory, hiddenName);
    if (path === 0) return undefined;
    const present = this.#present(path);
    if (this.#hasWhiteouts) {
      this.#resize();
      for (const ancestor of this.#parent.trail) this.#touch(ancestor);
      const placement = this.#placement(path, present);
      if (present === 0) this.#state.nodes[path] = nodeOf(kinds.whiteout, entry);
      this.#touch(path);
      return placement;
    }
    if ((this.#state.touched[path] ?? 0) < this.#layerStart) this.#state.nodes[path] = 0;
    else this.#state.hideBefore(path, this.#layerStart);
    return undefined;
  }

  #hideAll(directory: number): Placement | undefined {
    if (!this.#hasWhiteouts) {
      this.#state.hideBefore(directory, this.#layerStart);
      return undefined;
    }
    for (const ancestor of this.#parent.trail) this.#touch(ancestor);
    this.#state.nodes[directory] = asOpaque(this.#state.nodes[directory] ?? 0);
    return { ...this.#placement(directory, 0), isOpaqueMarker: true };
  }

  /** Walks to an entry's parent directory. Returns false if it does not exist and is not created. */
  #findParent(list: EntryList, index: number, create: boolean): boolean {
    const tree = create ? this.#maker : this.#lookup(this.#hiddenOnTrail);
    const end = this.#parent.walkWritten(tree, this.#paths.parentOf(list.pathOf(index)), true);
    if (end === 'loop') throw invalidEntry(list.toEntry(index), 'is below a symbolic link loop');
    if (end === 'blocked')
      throw invalidEntry(list.toEntry(index), 'is below something that is not a directory');
    return end === 'found' && isDirectory(this.#state.nodes[this.#parent.at] ?? 0);
  }

  /** Returns a tree for lookups; `hiddenOnTrail` receives the hidden time of each directory of the trail. */
  #lookup(hiddenOnTrail: number[]): WalkedTree {
    return {
      enter: (path, depth) => this.#enter(path, depth, hiddenOnTrail),
      isDirectory: (path) => isDirectory(this.#state.nodes[path] ?? 0),
      targetOf: (node) => this.#entries.targetOf(node),
    };
  }

  /** A tree that creates missing directories on the way. */
  readonly #maker: WalkedTree = {
    enter: (path, depth, followedLinks) => {
      this.#resize();
      const present = this.#enter(path, depth, this.#hiddenOnTrail);
      const kind = kindOf(present);
      if (kind === kinds.directory || kind === kinds.symlink) return present;
      if (kind !== kinds.nothing && kind !== kinds.whiteout && this.#blocksParent(path, followedLinks))
        return 'blocked';
      if (kind === kinds.whiteout) this.#createdOverWhiteouts.push(path);
      this.#touch(path);
      this.#state.nodes[path] = impliedDirectory;
      this.#state.hidden[path] = this.#time;
      this.#hiddenOnTrail[depth] = this.#time;
      return impliedDirectory;
    },
    isDirectory: (path) => isDirectory(this.#state.nodes[path] ?? 0),
    targetOf: (node) => this.#entries.targetOf(node),
    add: (parent, name) => this.#paths.add(parent, name),
  };

  /**
   * Runtimes disagree about an entry below a lower layer's file: containerd's extraction into one directory
   * fails, overlayfs shows a directory instead of the file. We follow overlayfs, unless a link led there.
   */
  #blocksParent(path: number, followedLinks: boolean): boolean {
    return followedLinks || (this.#state.touched[path] ?? 0) >= this.#layerStart;
  }

  #enter(path: number, depth: number, hiddenOnTrail: number[]): NodeCode {
    const hidden = depth === 0 ? (this.#state.hidden[0] ?? 0) : (hiddenOnTrail[depth - 1] ?? 0);
    hiddenOnTrail[depth] = Math.max(hidden, this.#state.hidden[path] ?? 0);
    return this.#state.nodeSince(path, hidden);
  }

  /** Returns the node at a path in the directory that the trail leads to. */
  #present(path: number): NodeCode {
    const depth = this.#parent.trail.length;
    const hidden = depth === 0 ? (this.#state.hidden[0] ?? 0) : (this.#hiddenOnTrail[depth - 1] ?? 0);
    return this.#state.nodeSince(path, hidden);
  }

  #below(directory: number, written: number): number {
    if (this.#paths.parentOf(written) === directory) return written;
    const path = this.#paths.add(directory, this.#paths.nameOf(written));
    this.#resize();
    return path;
  }

  #placement(path: number, previous: NodeCode): Placement {
    const { trail, followedLinks } = this.#parent;
    return {
      trail,
      followedLinks,
      path,
      isOpaqueMarker: false,
      previous,
      createdOverWhiteouts: this.#createdOverWhiteouts,
    };
  }

  #touch(path: number): void {
    if (this.#hasWhiteouts && (this.#state.touched[path] ?? 0) < this.#layerStart) {
      this.#touchedPaths = grown(this.#touchedPaths, this.#touchedCount);
      this.#touchedPaths[this.#touchedCount++] = path;
    }
    this.#state.touched[path] = this.#time;
  }

  #resize(): void {
    this.#state.resize(this.#paths.size);
  }
}
