import { asOpaque, entryOf, impliedDirectory, isDirectory, isOpaque, type NodeCode } from './node-code.ts';
import { fitted, type PathNumbers, type PathTable } from './path-table.ts';

/**
 * What overlayfs shows of directories that lie one over another (Documentation/filesystems/overlayfs.rst), put
 * below one another from the top down: each costs as much as it holds.
 */
export class MergedTree {
  readonly #paths: PathTable;
  /** The topmost of what is at each path. A directory is marked as opaque when nothing of lower layers is in it. */
  #nodes: PathNumbers = Int32Array.of(impliedDirectory);
  /** The last layer of which the directory at a path is part, counted from 1 at the top. */
  #part: PathNumbers = Int32Array.of(0);
  #count = 0;

  constructor(paths: PathTable) {
    this.#paths = paths;
  }

  nodeAt(path: number): NodeCode {
    return this.#nodes[path] ?? 0;
  }

  /** What is at each path. */
  get nodes(): PathNumbers {
    return this.#nodes;
  }

  /** Puts a layer's directory below those that are there. @param paths of all that is in it, directories first */
  addBelow(paths: Uint32Array, nodeAt: (path: number) => NodeCode): void {
    this.#count += 1;
    this.#nodes = fitted(this.#nodes, this.#paths.size);
    this.#part = fitted(this.#part, this.#paths.size);
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
