import type { LayerEntry } from './layer.ts';
import { walkTree, type Binding, type FileNode } from './overlay-node.ts';
import { OverlayTree } from './overlay-tree.ts';

/** A regular file that a container would see. */
export interface OverlayFile {
  /** Absolute physical path (no symbolic link in it): the name of the entry with the content, or of a hard link to it. */
  readonly path: string;
  /** Every visible name of it (hard links), absolute, sorted; `path` is one of them. */
  readonly names: readonly string[];
  /** The `file` entry that holds the bytes. */
  readonly entry: LayerEntry;
}

/** What a path names, as far as the layers read until now can tell. */
export type Resolution =
  | { readonly state: 'file'; readonly file: OverlayFile }
  /** There is something else: a directory, a device, a symbolic link that leads nowhere or in a circle. */
  | { readonly state: 'other'; readonly type: string }
  | { readonly state: 'absent' }
  /** A lower layer, not read yet, could change the answer. */
  | { readonly state: 'undecided' };

/** A visible symbolic link with the file that it leads to. */
export interface OverlaySymlink {
  /** Absolute physical path of the link itself. */
  readonly path: string;
  readonly file: OverlayFile;
}

/** A visible directory with the entry that says its owner and mode. */
export interface OverlayDirectory {
  /** Absolute physical path. */
  readonly path: string;
  readonly entry: LayerEntry;
}

/**
 * What a container sees of layers that are extracted one onto another: entries in the order of the tar, links of
 * parent directories followed within the root, whiteouts that hide what lower layers gave.
 * Layers may be added from the top down; `resolve` then answers as soon as no lower layer can change the answer.
 * Methods throw RegistryError INVALID_LAYER for entries that no runtime could extract.
 */
export class Overlay {
  readonly #layers: (readonly LayerEntry[] | undefined)[];
  #tree: OverlayTree | undefined;
  #names: ReadonlyMap<FileNode, readonly string[]> | undefined;

  constructor({ layers }: { readonly layers: number }) {
    this.#layers = Array.from({ length: layers }, () => undefined);
  }

  /** Whether all layers were added. */
  get complete(): boolean {
    return this.#layers.every((entries) => entries !== undefined);
  }

  /** Adds the entries of a layer in the order of its tar. Base = 0. All layers above it must have been added. */
  addLayer(layer: number, entries: readonly LayerEntry[]): void {
    if (!(layer in this.#layers) || this.#layers.indexOf(undefined, layer + 1) !== -1) {
      throw new RangeError(`layer ${layer} added before those above it`);
    }
    this.#layers[layer] = entries;
    this.#tree = undefined;
    this.#names = undefined;
  }

  /** What a path names, symbolic links followed as the kernel does. Taken as absolute. */
  resolve(path: string): Resolution {
    const result = this.#replay().walk(path, { followLast: true });
    switch (result.state) {
      case 'found':
        if (result.node.type === 'file')
          return { state: 'file', file: this.#toFile(result.node, result.trail) };
        return { state: 'other', type: result.node.type };
      case 'absent':
        return result.behindLink ? { state: 'other', type: 'symlink' } : { state: 'absent' };
      case 'circle':
        return { state: 'other', type: 'symlink' };
      case 'blocked':
        return { state: 'absent' };
      case 'undecided':
        return { state: 'undecided' };
    }
  }

  /** The physical path of a directory; null when it is none, or not known yet. */
  realDirectory(path: string): string | null {
    const result = this.#replay().walk(path, { followLast: true });
    return result.state === 'found' && result.node.type === 'directory' ? toPath(result.trail) : null;
  }

  /** All visible regular files. All layers must have been added. */
  *files(): Generator<OverlayFile> {
    for (const [node, names] of this.#allNames()) yield createFile(node, names);
  }

  /** All visible symbolic links that lead to a regular file. All layers must have been added. */
  symlinks(accepts: (path: string) => boolean = () => true): OverlaySymlink[] {
    const tree = this.#completeTree();
    const links: OverlaySymlink[] = [];
    for (const { path, binding } of walkTree(tree.root)) {
      if (binding.node.type !== 'symlink' || !accepts(path)) continue;
      const target = this.resolve(path);
      if (target.state === 'file') links.push({ path, file: target.file });
    }
    return links;
  }

  /** The visible directories that have an entry, as far as the layers read until now show them. */
  *directories(): Generator<OverlayDirectory> {
    for (const { path, binding } of walkTree(this.#replay().root)) {
      if (binding.node.type === 'directory' && binding.node.entry !== undefined)
        yield { path, entry: binding.node.entry };
    }
  }

  #toFile(node: FileNode, trail: readonly Binding[]): OverlayFile {
    const names = node.linked ? this.#allNames({ partial: true }).get(node) : undefined;
    return createFile(node, names ?? [toPath(trail)]);
  }

  #allNames({ partial = false } = {}): ReadonlyMap<FileNode, readonly string[]> {
    const { root } = partial ? this.#replay() : this.#completeTree();
    if (this.#names !== undefined) return this.#names;
    const names = new Map<FileNode, string[]>();
    for (const { path, binding } of walkTree(root)) {
      if (binding.node.type !== 'file') continue;
      const known = names.get(binding.node);
      if (known === undefined) names.set(binding.node, [path]);
      else known.push(path);
    }
    this.#names = names;
    return names;
  }

  #completeTree(): OverlayTree {
    if (!this.complete) throw new RangeError('not all layers were added');
    return this.#replay();
  }

  #replay(): OverlayTree {
    if (this.#tree !== undefined) return this.#tree;
    const tree = new OverlayTree({ complete: this.complete });
    for (const entries of this.#layers) for (const entry of entries ?? []) tree.apply(entry);
    this.#tree = tree;
    return tree;
  }
}

/** The name of the entry itself goes before those of its hard links. */
function createFile({ entry }: FileNode, found: readonly string[]): OverlayFile {
  const names = found.toSorted();
  const own = `/${entry.path}`;
  return { path: names.includes(own) ? own : (names[0] ?? own), names, entry };
}

function toPath(trail: readonly Binding[]): string {
  return `/${trail.map(({ name }) => name).join('/')}`;
}
