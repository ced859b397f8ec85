import { RegistryError } from '../errors.ts';
import type { LayerEntry } from './layer.ts';
import {
  emptyDirectory,
  hideLowerLayers,
  type Binding,
  type DirectoryNode,
  type OverlayNode,
} from './overlay-node.ts';
import { walkPath, type WalkResult } from './overlay-walk.ts';

const whiteoutPrefix = '.wh.';
const opaqueName = '.wh..wh..opq';
/** Linux's PATH_MAX: a longer path or link cannot be unpacked anywhere. */
const maxPathLength = 4096;

const nothing: OverlayNode = { type: 'whiteout' };

/**
 * The file tree that layers give when they are extracted one onto another (image-spec, layer.md; containerd's
 * archive.Apply), replayed from the lowest layer known upwards.
 *
 * While lower layers are missing, only what they cannot change is in the tree. An entry below a directory that no
 * layer has shown may go anywhere, since a lower layer may have a symbolic link there: its names become doubtful.
 */
export class OverlayTree {
  readonly root: DirectoryNode;
  readonly #doubtfulNames = new Set<string>();
  /** Something at an unknown place hides all that layers below this one gave to a directory. */
  #doubtfulBelow = -1;
  /** The latest layer with an entry of unknown place: its whiteouts may spare more than the tree shows. */
  #unplacedIn = -1;

  /** @param complete whether the first entry is of the lowest layer */
  constructor({ complete }: { readonly complete: boolean }) {
    this.root = emptyDirectory(complete);
  }

  /** Where a path leads, symbolic links followed. */
  walk(path: string, { followLast }: { readonly followLast: boolean }): WalkResult {
    const result = walkPath({ root: this.root, path, followLast, isDoubtful: this.#isDoubtful });
    // An entry of unknown place may have made directories on its way, wherever links led it.
    const isDoubtful = result.state === 'absent' && this.#unplacedIn >= 0;
    return isDoubtful ? { state: 'undecided', rest: [] } : result;
  }

  /** Extracts the next entry. @throws RegistryError INVALID_LAYER */
  apply(entry: LayerEntry): void {
    const { path } = entry;
    if (Math.max(path.length, entry.link?.length ?? 0) >= maxPathLength)
      throw refused(entry, 'is too long to unpack');
    if (path === '') {
      if (entry.type === 'directory') this.root.entry = entry;
      return;
    }
    const slash = path.lastIndexOf('/');
    const parentPath = path.slice(0, Math.max(slash, 0));
    const name = path.slice(slash + 1);
    if (name.startsWith(whiteoutPrefix)) this.#hide(entry, parentPath, name);
    else this.#place(entry, parentPath, name);
  }

  readonly #isDoubtful = (name: string, binding: Binding | undefined): boolean =>
    this.#doubtfulNames.has(name) || (binding !== undefined && binding.layer < this.#doubtfulBelow);

  #place(entry: LayerEntry, parentPath: string, name: string): void {
    const { layer } = entry;
    const parent = this.#findParent(entry, parentPath, true);
    if (parent === undefined) {
      this.#unplacedIn = layer;
      this.#doubtfulNames.add(name);
      if (entry.type === 'hardlink') this.#doubtfulNames.add(lastName(entry.link ?? ''));
      return;
    }
    const { directory, trail } = parent;
    for (const ancestor of trail) ancestor.layer = layer;
    const present = directory.children.get(name);
    if (entry.type === 'directory' && present?.node.type === 'directory') {
      present.node.entry = entry;
      present.layer = layer;
      return;
    }
    const isKnown = directory.complete || present !== undefined;
    directory.children.delete(name);
    directory.children.set(name, { name, node: this.#makeNode(entry, isKnown), layer });
  }

  /** @param isKnown whether no layer that has not been read can have anything at the place */
  #makeNode(entry: LayerEntry, isKnown: boolean): OverlayNode {
    switch (entry.type) {
      case 'directory':
        return emptyDirectory(isKnown, entry);
      case 'file':
        return { type: 'file', entry, linked: false };
      case 'symlink':
        return { type: 'symlink', target: entry.link ?? '' };
      case 'hardlink':
        return this.#linkTarget(entry);
      case 'character-device':
      case 'block-device':
      case 'fifo':
        return { type: entry.type };
    }
  }

  #linkTarget(entry: LayerEntry): OverlayNode {
    const result = this.walk(entry.link ?? '', { followLast: false });
    if (result.state === 'undecided') return { type: 'unknown' };
    if (result.state !== 'found') throw refused(entry, 'is a hard link to a file that does not exist');
    if (result.node.type === 'directory') throw refused(entry, 'is a hard link to a directory');
    if (result.node.type === 'file') result.node.linked = true;
    return result.node;
  }

  #hide(entry: LayerEntry, parentPath: string, name: string): void {
    const { layer } = entry;
    const hidden = name.slice(whiteoutPrefix.length);
    if (hidden === '' || hidden === '.' || hidden === '..') throw refused(entry, 'is a whiteout of nothing');
    const parent = this.#findParent(entry, parentPath, false);
    if (parent === undefined || this.#unplacedIn === layer) {
      if (this.root.complete) return;
      if (name === opaqueName) this.#doubtfulBelow = Math.max(this.#doubtfulBelow, layer);
      else this.#doubtfulNames.add(hidden);
      return;
    }
    if (name === opaqueName) {
      hideLowerLayers(parent.directory, layer);
      return;
    }
    const { children, complete } = parent.directory;
    const present = children.get(hidden);
    if (present === undefined || present.layer < layer) {
      children.delete(hidden);
      if (!complete) children.set(hidden, { name: hidden, node: nothing, layer: -1 });
    } else if (present.node.type === 'directory') {
      hideLowerLayers(present.node, layer);
    }
  }

  /** The directory that an entry goes to. Undefined when it is not known, or (not to be created) not there. */
  #findParent(
    entry: LayerEntry,
    path: string,
    create: boolean,
  ): { directory: DirectoryNode; trail: readonly Binding[] } | undefined {
    const result = walkPath({
      root: this.root,
      path,
      followLast: true,
      isDoubtful: this.#isDoubtful,
      ...(create ? { createFor: entry.layer } : {}),
    });
    switch (result.state) {
      case 'found':
        if (result.node.type === 'directory') return { directory: result.node, trail: result.trail };
        return undefined;
      case 'undecided':
        for (const name of result.rest) this.#doubtfulNames.add(name);
        return undefined;
      case 'absent':
        return undefined;
      case 'circle':
        throw refused(entry, 'goes in circles');
      case 'blocked':
        throw refused(entry, 'lies below something that is no directory');
    }
  }
}

function lastName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

function refused({ path, layer, index }: LayerEntry, what: string): RegistryError {
  return new RegistryError({
    code: 'INVALID_LAYER',
    message: `The entry ${JSON.stringify(path.slice(0, 300))} of layer ${layer} ${what}`,
    facts: { path, layer, index },
  });
}
