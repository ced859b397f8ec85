import { isDirectory, type NodeCode } from './node-code.ts';
import { fitted, type PathNumbers } from './path-table.ts';

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
