import { isDirectory, kindOf, kinds, type NodeCode } from './node-code.ts';
import { resized, type PathNumbers, type PathTable } from './path-table.ts';
import { PathWalk, type WalkedTree, type WalkEnd } from './path-walk.ts';
import type { StepBudget } from './step-budget.ts';

/** What a path leads to in a view. */
export type Found =
  | { readonly state: 'file'; readonly node: NodeCode; readonly path: number }
  | { readonly state: 'other'; readonly type: string }
  | { readonly state: 'absent' };

const kindNames = new Map<number, string>(Object.entries(kinds).map(([name, kind]) => [kind, name]));

/** A file tree with all layers applied. */
export class TreeView {
  readonly #paths: PathTable;
  readonly #nodes: Int32Array;
  readonly #walk: PathWalk;
  readonly #tree: WalkedTree;

  /** @param nodes the node at each path */
  constructor(
    paths: PathTable,
    nodes: Int32Array,
    options: { readonly targetOf: (node: NodeCode) => string; readonly steps: StepBudget },
  ) {
    this.#paths = paths;
    this.#nodes = nodes;
    this.#walk = new PathWalk(paths, options.steps);
    this.#tree = {
      enter: (path) => nodes[path] ?? 0,
      isDirectory: (path) => isDirectory(nodes[path] ?? 0),
      targetOf: options.targetOf,
    };
  }

  /** Returns the node at a physical path. */
  nodeAt(path: number): NodeCode {
    return this.#nodes[path] ?? 0;
  }

  /** Resolves a path, following links. A number stands for a path as it is written. */
  resolve(path: string | number): Found {
    const end = this.#follow(path);
    return describeEnd(end, this.#walk, (at) => this.nodeAt(at));
  }

  /** Returns the number of a directory's physical path; undefined if it is not a directory. */
  realDirectory(path: string): number | undefined {
    const end = this.#follow(path);
    return end === 'found' && isDirectory(this.nodeAt(this.#walk.at)) ? this.#walk.at : undefined;
  }

  #follow(path: string | number): WalkEnd {
    return typeof path === 'number'
      ? this.#walk.walkWritten(this.#tree, path, true)
      : this.#walk.walkText(this.#tree, path, true);
  }

  /** Yields every path with a node of a kind. */
  *pathsOf(kind: number): Generator<number> {
    for (let path = 1; path < this.#paths.size; path++) {
      if (kindOf(this.#nodes[path] ?? 0) === kind) yield path;
    }
  }
}

/** Describes what a walk that followed all links found. */
export function describeEnd(end: WalkEnd, walk: PathWalk, nodeAt: (path: number) => NodeCode): Found {
  switch (end) {
    case 'found': {
      const node = nodeAt(walk.at);
      if (kindOf(node) === kinds.file) return { state: 'file', node, path: walk.at };
      return {
        state: 'other',
        type: walk.at === 0 ? 'directory' : (kindNames.get(kindOf(node)) ?? 'unknown'),
      };
    }
    case 'absent':
      return walk.endsInLink ? { state: 'other', type: 'symlink' } : { state: 'absent' };
    case 'loop':
      return { state: 'other', type: 'symlink' };
    case 'blocked':
      return { state: 'absent' };
  }
}

/**
 * The node at each path of a tree under construction, and since when it is valid. Times are increasing
 * numbers.
 */
export class TreeState {
  /** What was last put at a path, even if it has been hidden or removed since. */
  nodes: PathNumbers = new Int32Array(0);
  /** When something was last put at or below a path. */
  touched: PathNumbers = new Int32Array(0);
  /** For directories: what was last touched before this time is hidden. */
  hidden: PathNumbers = new Int32Array(0);

  /** Makes room for all paths. */
  resize(size: number): void {
    this.nodes = resized(this.nodes, size);
    this.touched = resized(this.touched, size);
    this.hidden = resized(this.hidden, size);
  }

  /** Returns the node at a path if it was touched at or after a time. */
  nodeSince(path: number, time: number): NodeCode {
    return (this.touched[path] ?? 0) < time ? 0 : (this.nodes[path] ?? 0);
  }

  /** Hides what was put into a directory before a time, at any depth. */
  hideBefore(directory: number, time: number): void {
    this.hidden[directory] = Math.max(this.hidden[directory] ?? 0, time);
  }

  /** Updates `nodes` to what is visible at a path. Directories must be settled before their content. */
  settle(path: number, parent: number): void {
    const hidden = this.hidden[parent] ?? 0;
    if (!isDirectory(this.nodes[parent] ?? 0)) this.nodes[path] = 0;
    this.nodes[path] = this.nodeSince(path, hidden);
    this.hideBefore(path, hidden);
  }
}
