import { isDirectory, kindOf, kinds, type NodeCode } from './node-code.ts';
import { PathWalk, type WalkedTree, type WalkEnd } from './path-walk.ts';
import type { PathTable } from './path-table.ts';
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
