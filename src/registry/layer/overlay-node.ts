import type { LayerEntry } from './layer.ts';

/** A directory of the merged tree. */
export interface DirectoryNode {
  readonly type: 'directory';
  readonly children: Map<string, Binding>;
  /** What is not among the children is not there: no layer that has not been read can add to them. */
  complete: boolean;
  /** The latest entry for it; none when it came about as a parent. */
  entry: LayerEntry | undefined;
}

/** A regular file, shared by all its hard links. */
export interface FileNode {
  readonly type: 'file';
  readonly entry: LayerEntry;
  /** Whether it ever got a second name. */
  linked: boolean;
}

/** A symbolic link. */
export interface SymlinkNode {
  readonly type: 'symlink';
  readonly target: string;
}

/** A device or fifo. */
interface SpecialNode {
  readonly type: 'character-device' | 'block-device' | 'fifo';
}

/** Something that depends on a layer that has not been read, but is no directory. */
interface UnknownNode {
  readonly type: 'unknown';
}

/** Nothing, whatever the layers that have not been read say. */
interface WhiteoutNode {
  readonly type: 'whiteout';
}

export type OverlayNode = DirectoryNode | FileNode | SymlinkNode | SpecialNode | UnknownNode | WhiteoutNode;

/** A name in a directory. */
export interface Binding {
  readonly name: string;
  node: OverlayNode;
  /** The highest layer that put something there or below: its own whiteouts spare it. */
  layer: number;
}

/** A directory that has nothing in it yet. */
export function emptyDirectory(complete: boolean, entry?: LayerEntry): DirectoryNode {
  return { type: 'directory', children: new Map(), complete, entry };
}

/** Every name below a directory with its absolute path, the directory's own path given as prefix. */
export function* walkTree(
  root: DirectoryNode,
): Generator<{ readonly path: string; readonly binding: Binding }> {
  const waiting: { directory: DirectoryNode; prefix: string }[] = [{ directory: root, prefix: '/' }];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    for (const binding of next.directory.children.values()) {
      const path = next.prefix + binding.name;
      yield { path, binding };
      if (binding.node.type === 'directory') waiting.push({ directory: binding.node, prefix: `${path}/` });
    }
  }
}

/** Removes what lower layers gave from a directory, at any depth. What `layer` itself gave stays. */
export function hideLowerLayers(root: DirectoryNode, layer: number): void {
  const waiting = [root];
  for (let directory = waiting.pop(); directory !== undefined; directory = waiting.pop()) {
    directory.complete = true;
    for (const { name, node, layer: touched } of directory.children.values()) {
      if (touched < layer) directory.children.delete(name);
      else if (node.type === 'directory') waiting.push(node);
    }
  }
}
