import { isDirectory, kindOf, kinds, type NodeCode } from './node-code.ts';
import { fitted, type PathNumbers, type PathTable } from './path-table.ts';
import { PathWalk, type WalkedTree, type WalkEnd } from './path-walk.ts';
import type { StepBudget } from './step-budget.ts';

/** What a path leads to in a view. */
export type Found =
  | { readonly state: 'file'; readonly node: NodeCode; readonly path: number }
  | { readonly state: 'other'; readonly type: string }
  | { readonly state: 'absent' };

const kindNames = new Map<number, string>(Object.entries(kinds).map(([name, kind]) => [kind, name]));

/** A tree of files with all layers in it. */
export class TreeView {
  readonly #paths: PathTable;
  readonly #nodes: Int32Array;
  readonly #walk: PathWalk;
  readonly #tree: WalkedTree;

  /** @param nodes what is at each path */
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

  /** What is at a physical path. */
  nodeAt(path: number): NodeCode {
    return this.#nodes[path] ?? 0;
  }

  /** What a path names, links followed. A number: a path as it is written. */
  resolve(path: string | number): Found {
    const end = this.#follow(path);
    return describeEnd(end, this.#walk, (at) => this.nodeAt(at));
  }

  /** The number of the physical path of a directory; undefined when it is none. */
  realDirectory(path: string): number | undefined {
    const end = this.#follow(path);
    return end === 'found' && isDirectory(this.nodeAt(this.#walk.at)) ? this.#walk.at : undefined;
  }

  #follow(path: string | number): WalkEnd {
    return typeof path === 'number'
      ? this.#walk.walkWritten(this.#tree, path, true)
      : this.#walk.walkText(this.#tree, path, true);
  }

  /** Every path with a node of a kind. */
  *pathsOf(kind: number): Generator<number> {
    for (let path = 1; path < this.#paths.size; path++) {
      if (kindOf(this.#nodes[path] ?? 0) === kind) yield path;
    }
  }
}

/** What a walk that followed all links has found. */
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
    case 'circle':
      return { state: 'other', type: 'symlink' };
    case 'blocked':
      return { state: 'absent' };
  }
}

/** What is at each path of a tree that is being made, and since when it counts. Times are numbers that grow. */
export class TreeState {
  /** What was put at a path last, also if it is hidden or gone since. */
  nodes: PathNumbers = new Int32Array(0);
  /** When something was last put at a path or below. */
  touched: PathNumbers = new Int32Array(0);
  /** Of directories: what was touched before this is not in it. */
  hidden: PathNumbers = new Int32Array(0);

  /** Makes room for all paths. */
  fit(size: number): void {
    this.nodes = fitted(this.nodes, size);
    this.touched = fitted(this.touched, size);
    this.hidden = fitted(this.hidden, size);
  }

  /** What is at a path, if it was touched since a time. */
  nodeSince(path: number, time: number): NodeCode {
    return (this.touched[path] ?? 0) < time ? 0 : (this.nodes[path] ?? 0);
  }

  /** Hides what was put into a directory before a time, at any depth. */
  hideBefore(directory: number, time: number): void {
    this.hidden[directory] = Math.max(this.hidden[directory] ?? 0, time);
  }

  /** Makes `nodes` tell what is visible at a path. Directories come before what is in them. */
  settle(path: number, parent: number): void {
    const hidden = this.hidden[parent] ?? 0;
    if (!isDirectory(this.nodes[parent] ?? 0)) this.nodes[path] = 0;
    this.nodes[path] = this.nodeSince(path, hidden);
    this.hideBefore(path, hidden);
  }
}
