import { EarlyResolver, MergedTree } from './early-resolver.ts';
import { type EntryBudget, EntryList, type ListedEntry, ImageEntries } from './entry-list.ts';
import { ExtractionTree } from './extraction-tree.ts';
import { type FilePaths, isSameFound, makeViews, type Views } from './overlay-views.ts';
import type { LayerEntry } from './layer-source.ts';
import { entryOf, isDirectory, kindOf, kinds, type NodeCode } from './node-code.ts';
import { PathTable } from './path-table.ts';
import { defaultOverlayLimits, type OverlayLimits, StepBudget } from './step-budget.ts';
import type { Found } from './tree-view.ts';

/** A regular file that a container would see. */
export interface OverlayFile {
  /**
   * Absolute physical path (without symbolic links): the path of the entry with the content, or of a hard
   * link to it.
   */
  readonly path: string;
  /** All its visible names (hard links) in any view, absolute, sorted; `path` is one of them. */
  readonly names: readonly string[];
  /** The names in each view, if the views disagree about them. */
  readonly differs: ViewNames | undefined;
  /** The `file` entry with the content. */
  readonly entry: LayerEntry;
}

/** Names of one file in each view, sorted. */
export interface ViewNames {
  readonly overlayfs: readonly string[];
  readonly extraction: readonly string[];
}

/** What a path refers to, as far as the layers read so far can tell. */
export type Resolution =
  | { readonly state: 'file'; readonly file: OverlayFile }
  /**
   * Something other than a file: a directory, a device, a symbolic link that is dangling or part of a loop.
   */
  | { readonly state: 'other'; readonly type: string }
  | { readonly state: 'absent' }
  /** A lower layer, not yet read, could change the result. */
  | { readonly state: 'undecided' };

/** A visible symbolic link and the file that it leads to. */
export interface OverlaySymlink {
  /** Absolute physical path of the link itself. */
  readonly path: string;
  readonly file: OverlayFile;
}

export interface OverlayOptions {
  /** The number of layers of the image. */
  readonly layers: number;
  readonly limits?: OverlayLimits | undefined;
  /** Whether paths are resolved before all layers have been added. @default true */
  readonly early?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * What a container sees of an image's layers. Runtimes disagree about that, so there are two views:
 * `overlayfs`, where each layer is extracted into a directory of its own and these are stacked (containerd's
 * and CRI-O's overlayfs snapshotters); and `extraction`, where all layers are extracted into one directory
 * (umoci, native snapshotters), and an entry follows symbolic links that lower layers have in place of its
 * parent directories.
 *
 * Layers are added from the top down, each once; `resolve` returns a result as soon as no lower layer can
 * change it in any view. Methods throw RegistryError INVALID_LAYER for entries that no runtime could extract,
 * LIMIT_EXCEEDED, and the signal's reason.
 */
export class Overlay {
  readonly #paths: PathTable;
  readonly #entries = new ImageEntries();
  readonly #budget: EntryBudget;
  readonly #options: OverlayOptions;
  readonly #limits: OverlayLimits;
  readonly #steps: StepBudget;
  readonly #linked = new Set<number>();
  readonly #merged: MergedTree;
  readonly #early: EarlyResolver | undefined;
  #own: ExtractionTree | undefined;
  #remaining: number;
  #views: Views | undefined;

  /** @param paths the paths of another overlay whose lists will be added */
  constructor(options: OverlayOptions, paths?: PathTable) {
    const { layers, limits = defaultOverlayLimits, early = true, signal } = options;
    this.#options = options;
    this.#remaining = layers;
    this.#limits = limits;
    this.#paths = paths ?? new PathTable(limits);
    this.#budget = { entries: limits.maxEntries, linkCharacters: limits.maxLinkCharacters };
    this.#steps = new StepBudget(limits.maxSteps, signal);
    this.#merged = new MergedTree(this.#paths);
    this.#early = early ? new EarlyResolver(this.#paths, this.#merged, this.#steps) : undefined;
    this.#own = new ExtractionTree(this.#paths, this.#entries, { steps: this.#steps, linked: this.#linked });
  }

  /** Whether all layers have been added. */
  get complete(): boolean {
    return this.#remaining === 0;
  }

  /**
   * Creates an empty list for the entries of a layer. The lists of several layers may be filled concurrently.
   * Base = 0.
   */
  list(layer: number): EntryList {
    return new EntryList(this.#paths, { layer, budget: this.#budget });
  }

  /** Adds the entries of a layer. All layers above it must have been added. */
  async addLayer(list: EntryList): Promise<void> {
    const own = this.#own;
    if (own === undefined || list.layer !== this.#remaining - 1)
      throw new RangeError(`layer ${list.layer} added out of turn`);
    const start = this.#entries.add(list);
    own.beginLayer();
    for (let index = 0; index < list.length; index++) {
      const placement = own.apply(list, index, start + index);
      if (placement !== undefined) this.#early?.record(placement, own, list, index);
      this.#steps.take();
      if (this.#steps.isPauseDue) await this.#steps.pause();
    }
    this.#merged.addBelow(own.endLayer(), (path) => own.nodeAt(path));
    this.#remaining -= 1;
    if (this.#remaining > 0) return;
    this.#own = undefined;
    this.#views = await makeViews({
      paths: this.#paths,
      entries: this.#entries,
      mounted: this.#merged.nodes,
      tree: own,
      steps: this.#steps,
      maxNames: this.#limits.maxNames,
    });
  }

  /** Returns what containers would see with one more layer on top. All layers must have been added. */
  async withTopLayer(entries: Iterable<ListedEntry>): Promise<Overlay> {
    const { layers } = this.#options;
    const overlay = new Overlay({ ...this.#options, layers: layers + 1, early: false }, this.#paths);
    const top = overlay.list(layers);
    for (const entry of entries) top.add(entry);
    const below = this.#entries.fromBase().toArray().toReversed();
    for (const list of [top, ...below.map((one) => one.list)]) await overlay.addLayer(list);
    return overlay;
  }

  /**
   * Resolves a path, following symbolic links as the kernel does. A relative path is taken as absolute.
   * Returns two results if the views differ, that of overlayfs first.
   */
  resolve(path: string): readonly [Resolution, ...Resolution[]] {
    const targetOf = (node: NodeCode) => this.#entries.targetOf(node);
    if (this.#views === undefined) {
      const found = this.#early?.find(path, targetOf);
      return [found === undefined ? { state: 'undecided' } : this.#toResolution(found)];
    }
    const first = this.#views.overlayfs.resolve(path);
    const second = this.#views.extraction.resolve(path);
    if (isSameFound(first, second)) return [this.#toResolution(first)];
    return [this.#toResolution(first), this.#toResolution(second)];
  }

  /**
   * Returns the physical paths of a directory in the views, without duplicates; none for a view in which it
   * is not a directory. All layers must have been added.
   */
  realDirectories(path: string): string[] {
    const { overlayfs, extraction } = this.#completeViews();
    const found = [overlayfs.realDirectory(path), extraction.realDirectory(path)];
    return [...new Set(found.filter((one) => one !== undefined))].map((one) => this.#paths.textOf(one));
  }

  /**
   * Returns the visible regular files with an accepted name (the last part of the path). All layers must have
   * been added.
   */
  async files(accepts: (name: string) => boolean): Promise<OverlayFile[]> {
    const views = this.#completeViews();
    const { overlayfs, extraction } = await views.names.find(kinds.file, accepts);
    const entries = new Set([
      ...overlayfs.map((path) => entryOf(views.overlayfs.nodeAt(path)) ?? -1),
      ...extraction.map((path) => entryOf(views.extraction.nodeAt(path)) ?? -1),
    ]);
    return views.names
      .of(entries)
      .entries()
      .map(([entry, paths]) => this.#toFile(entry, paths))
      .toArray();
  }

  /**
   * Returns the visible symbolic links with an accepted name that lead to a regular file. All layers must
   * have been added.
   */
  async symlinks(accepts: (name: string) => boolean): Promise<OverlaySymlink[]> {
    const views = this.#completeViews();
    const found = await views.names.find(kinds.symlink, accepts);
    const targets: { path: number; entry: number }[] = [];
    for (const view of ['overlayfs', 'extraction'] as const) {
      for (const path of found[view]) {
        const target = views[view].resolve(path);
        if (target.state === 'file') targets.push({ path, entry: entryOf(target.node) ?? -1 });
        if (this.#steps.isPauseDue) await this.#steps.pause();
      }
    }
    const names = views.names.of(new Set(targets.map(({ entry }) => entry)));
    const files = new Map(names.entries().map(([entry, paths]) => [entry, this.#toFile(entry, paths)]));
    const seen = new Set<string>();
    return targets.flatMap(({ path, entry }) => {
      const file = files.get(entry);
      const key = `${path}:${entry}`;
      if (file === undefined || seen.has(key)) return [];
      seen.add(key);
      return [{ path: this.#paths.textOf(path), file }];
    });
  }

  /**
   * Returns the entry that sets the owner and mode of a directory; undefined if the path is not a directory
   * in every view; null if it is, but has no entry.
   * @param path absolute and physical
   */
  directory(path: string): LayerEntry | null | undefined {
    const nodes =
      this.#views === undefined
        ? [this.#physical(path, (at) => this.#merged.nodeAt(at))]
        : [this.#views.overlayfs, this.#views.extraction].map((view) =>
            this.#physical(path, (at) => view.nodeAt(at)),
          );
    if (!nodes.every((node) => isDirectory(node))) return undefined;
    const entry = nodes.map((node) => entryOf(node)).find((one) => one !== undefined);
    return entry === undefined ? null : this.#entries.toEntry(entry);
  }

  /** Returns the node at a path without symbolic links; nothing if one of its parents is not a directory. */
  #physical(path: string, nodeAt: (path: number) => NodeCode): NodeCode {
    let at = 0;
    for (const name of path.split('/').slice(1)) {
      if (!isDirectory(nodeAt(at))) return 0;
      at = this.#paths.find(at, name);
      if (at === 0) return 0;
    }
    return nodeAt(at);
  }

  #toResolution(found: Found): Resolution {
    if (found.state !== 'file') return found;
    const entry = entryOf(found.node) ?? -1;
    return { state: 'file', file: this.#toFile(entry, this.#pathsOf(entry, found.path)) };
  }

  #pathsOf(entry: number, path: number): FilePaths {
    const views = this.#views;
    const isEverywhere =
      views === undefined ||
      (entryOf(views.overlayfs.nodeAt(path)) === entry && entryOf(views.extraction.nodeAt(path)) === entry);
    if (isEverywhere && !this.#linked.has(entry)) return { overlayfs: [path], extraction: [path] };
    if (views !== undefined) {
      const paths = views.names.of(new Set([entry])).get(entry);
      if (paths !== undefined) return paths;
    }
    const known = this.#mergedPathsOf(entry);
    return { overlayfs: known, extraction: known };
  }

  /** Returns the names of a file in the layers read so far. */
  #mergedPathsOf(entry: number): number[] {
    const paths: number[] = [];
    for (const [path, node] of this.#merged.nodes.entries()) {
      if (kindOf(node) === kinds.file && entryOf(node) === entry) paths.push(path);
    }
    return paths;
  }

  /** Prefers the entry's own name over those of its hard links. */
  #toFile(number: number, paths: FilePaths): OverlayFile {
    const overlayfs = paths.overlayfs.map((path) => this.#paths.textOf(path)).toSorted();
    const extraction = paths.extraction.map((path) => this.#paths.textOf(path)).toSorted();
    const names = [...new Set([...overlayfs, ...extraction])].toSorted();
    const entry = this.#entries.toEntry(number);
    const own = `/${entry.path}`;
    const agree = names.length === overlayfs.length && names.length === extraction.length;
    return {
      path: names.includes(own) ? own : (names[0] ?? own),
      names,
      differs: agree ? undefined : { overlayfs, extraction },
      entry,
    };
  }

  #completeViews(): Views {
    if (this.#views === undefined) throw new RangeError('not all layers were added');
    return this.#views;
  }
}
