import { emptyDirectory, type Binding, type DirectoryNode, type OverlayNode } from './overlay-node.ts';

/** The number of symbolic links that Linux follows in one path. */
const maxLinks = 40;

/** How to walk a path. */
export interface WalkOptions {
  readonly root: DirectoryNode;
  readonly path: string;
  /** Whether a symbolic link at the end is followed, too. */
  readonly followLast: boolean;
  /** Says that a name cannot be relied on: something of unknown place may have replaced it. */
  readonly isDoubtful: (name: string, binding: Binding | undefined) => boolean;
  /** Makes missing directories on the way for an entry of this layer. */
  readonly createFor?: number;
}

/** Where a walk ended. */
export type WalkResult =
  | {
      readonly state: 'found';
      readonly node: OverlayNode;
      /** The names from the root to it. */
      readonly trail: readonly Binding[];
    }
  /** `behindLink`: a symbolic link at the path's end leads nowhere. */
  | { readonly state: 'absent'; readonly behindLink: boolean }
  | { readonly state: 'circle' }
  /** A file is in the way of a directory. */
  | { readonly state: 'blocked' }
  /** `rest`: the names after the one that could not be decided. */
  | { readonly state: 'undecided'; readonly rest: readonly string[] };

/** Walks a path as the kernel does inside of a root: links followed, `..` of the root is the root. */
export function walkPath(options: WalkOptions): WalkResult {
  const { root, followLast, isDoubtful, createFor } = options;
  const trail: Binding[] = [];
  const waiting = namesOf(options.path).toReversed();
  let links = 0;
  let behindLink = false;
  for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
    if (name === '..') {
      trail.pop();
      continue;
    }
    const directory = lastNode(root, trail);
    if (directory.type !== 'directory') return { state: 'absent', behindLink };
    let binding = directory.children.get(name);
    if (isDoubtful(name, binding)) return { state: 'undecided', rest: waiting.toReversed() };
    if (createFor !== undefined) {
      if (isBlocked(binding, createFor, links > 0)) return { state: 'blocked' };
      binding = makeDirectory(directory, name, binding, createFor);
    }
    if (binding === undefined && directory.complete) return { state: 'absent', behindLink };
    if (binding === undefined || binding.node.type === 'unknown') {
      return { state: 'undecided', rest: waiting.toReversed() };
    }
    if (binding.node.type === 'whiteout') return { state: 'absent', behindLink };
    if (binding.node.type === 'symlink' && (followLast || waiting.length > 0)) {
      if (++links > maxLinks) return { state: 'circle' };
      behindLink ||= waiting.length === 0;
      const { target } = binding.node;
      if (target.startsWith('/')) trail.length = 0;
      waiting.push(...namesOf(target).toReversed());
    } else {
      trail.push(binding);
    }
  }
  return { state: 'found', node: lastNode(root, trail), trail };
}

function lastNode(root: DirectoryNode, trail: readonly Binding[]): OverlayNode {
  return trail.at(-1)?.node ?? root;
}

function namesOf(path: string): string[] {
  return path.split('/').filter((name) => name !== '' && name !== '.');
}

/**
 * Runtimes disagree about an entry below a lower layer's file: containerd's extraction onto one directory fails,
 * overlayfs shows a directory instead of the file. We do as overlayfs, unless a link led there.
 */
function isBlocked(binding: Binding | undefined, layer: number, behindLink: boolean): boolean {
  if (binding === undefined || (binding.layer < layer && !behindLink)) return false;
  const { type } = binding.node;
  return type !== 'directory' && type !== 'symlink' && type !== 'whiteout' && type !== 'unknown';
}

/** The name as a directory or link to walk on, made where it is certain that it has to be. */
function makeDirectory(
  parent: DirectoryNode,
  name: string,
  present: Binding | undefined,
  layer: number,
): Binding | undefined {
  if (present === undefined && !parent.complete) return undefined;
  const type = present?.node.type;
  if (present !== undefined && (type === 'directory' || type === 'symlink' || type === 'unknown'))
    return present;
  const made: Binding = { name, node: emptyDirectory(true), layer };
  parent.children.set(name, made);
  return made;
}
