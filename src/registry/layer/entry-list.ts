import type { LayerEntry } from './layer-source.ts';
import { type Kind, kinds, entryOf, maxEntryNumber, type NodeCode } from './node-code.ts';
import { grown, maxNameLength, maxPathDepth, type PathTable } from './path-table.ts';
import { RegistryError } from '../model/errors.ts';
import { cleanPath, type TarEntryHeader } from '../tar/entry.ts';

/** Linux's PATH_MAX: a longer path or link cannot be unpacked anywhere. */
const maxPathLength = 4096;

const hardLink = 15;
const kindMask = 0xf;
const linkShift = 4;

/** What an entry creates at its path: a node, or another name for what `linkPath` refers to. */
export type ListedKind = Kind | typeof hardLink;

/** What the entries of an image may take up, all layers together. */
export interface EntryBudget {
  entries: number;
  linkCharacters: number;
}

/** The fields used of a tar entry. */
export type ListedEntry = Pick<TarEntryHeader, 'path' | 'type' | 'linkName'>;

/**
 * The entries of one layer in tar order, with only the fields that the overlay needs: since all entries of
 * all layers are kept, an entry is just a few numbers.
 */
export class EntryList {
  readonly layer: number;
  readonly #paths: PathTable;
  readonly #budget: EntryBudget;
  #length = 0;
  #pathNumbers = new Uint32Array(256);
  /**
   * The kind, and in the higher bits the index of the link in `#links` or (hard links) the number of its
   * path.
   */
  #kinds = new Uint32Array(256);
  readonly #links: string[] = [];
  #lastParent = 0;
  #lastParentText = '';

  /** @param budget what may still be added, shared by all lists of an image */
  constructor(paths: PathTable, { layer, budget }: { readonly layer: number; readonly budget: EntryBudget }) {
    this.layer = layer;
    this.#paths = paths;
    this.#budget = budget;
  }

  get length(): number {
    return this.#length;
  }

  /** Adds the next entry. @throws RegistryError INVALID_LAYER, LIMIT_EXCEEDED */
  add(entry: ListedEntry): void {
    const index = this.#length;
    const place = { path: entry.path, layer: this.layer, index };
    this.#budget.entries -= 1;
    this.#budget.linkCharacters -= entry.linkName.length;
    if (this.#budget.entries < 0 || this.#budget.linkCharacters < 0) throw tooMuch(this.#budget, place);
    if (Math.max(entry.path.length, entry.linkName.length) >= maxPathLength)
      throw invalidEntry(place, 'is too long to unpack');
    this.#pathNumbers = grown(this.#pathNumbers, index);
    this.#kinds = grown(this.#kinds, index);
    this.#pathNumbers[index] = this.#pathOf(entry.path, place);
    this.#kinds[index] = this.#kindOf(entry, place);
    this.#length += 1;
  }

  /** Returns the number of the entry's path as written, without following symbolic links. */
  pathOf(index: number): number {
    return this.#pathNumbers[index] ?? 0;
  }

  kindOf(index: number): ListedKind {
    return ((this.#kinds[index] ?? 0) & kindMask) as ListedKind;
  }

  isHardLink(index: number): boolean {
    return this.kindOf(index) === hardLink;
  }

  /** Returns the number of a hard link's target path. */
  linkPathOf(index: number): number {
    return (this.#kinds[index] ?? 0) >>> linkShift;
  }

  /** Returns the target of a symbolic link. */
  targetOf(index: number): string {
    return this.#links[(this.#kinds[index] ?? 0) >>> linkShift] ?? '';
  }

  toEntry(index: number): LayerEntry {
    return { layer: this.layer, index, path: this.#paths.textOf(this.pathOf(index)).slice(1) };
  }

  #kindOf({ type, linkName }: ListedEntry, place: LayerEntry): number {
    if (type === 'symlink') return kinds.symlink | ((this.#links.push(linkName) - 1) << linkShift);
    if (type !== 'hardlink') return kinds[type];
    const link = cleanPath(linkName);
    if (link === undefined) throw invalidEntry(place, 'is a hard link to a path that contains ".."');
    return hardLink | (this.#pathOf(link, place) << linkShift);
  }

  #pathOf(text: string, place: LayerEntry): number {
    if (text === '') return 0;
    const slash = text.lastIndexOf('/');
    const parentText = text.slice(0, Math.max(slash, 0));
    if (parentText !== this.#lastParentText) {
      this.#lastParent = this.#addAll(parentText, place);
      this.#lastParentText = parentText;
    }
    return this.#addName(this.#lastParent, text.slice(slash + 1), place);
  }

  #addAll(text: string, place: LayerEntry): number {
    if (text === '') return 0;
    const names = text.split('/');
    if (names.length >= maxPathDepth) {
      throw new RegistryError({
        code: 'LIMIT_EXCEEDED',
        message: `The path ${shortened(text)} in layer ${place.layer} has more than ${maxPathDepth} parts`,
        facts: { path: text, layer: place.layer, index: place.index, maxPathDepth },
      });
    }
    return names.reduce((parent, name) => this.#addName(parent, name, place), 0);
  }

  #addName(parent: number, name: string, place: LayerEntry): number {
    if (name.length > maxNameLength) throw invalidEntry(place, 'has a name that is too long to unpack');
    return this.#paths.add(parent, name);
  }
}

/** Builds the error for an entry that no runtime could extract. */
export function invalidEntry({ path, layer, index }: LayerEntry, what: string): RegistryError {
  return new RegistryError({
    code: 'INVALID_LAYER',
    message: `The entry ${shortened(path)} of layer ${layer} ${what}`,
    facts: { path, layer, index },
  });
}

function shortened(path: string): string {
  return JSON.stringify(path.slice(0, 300));
}

function tooMuch({ entries }: EntryBudget, { layer }: LayerEntry): RegistryError {
  const what = entries < 0 ? 'more entries' : 'links with longer targets';
  return new RegistryError({
    code: 'LIMIT_EXCEEDED',
    message: `The image's layers have ${what} in total than are read (found in layer ${layer})`,
    facts: { layer },
  });
}

/** The entries of all layers, numbered in the order in which the layers were added. */
export class ImageEntries {
  readonly #lists: EntryList[] = [];
  /** The number of the first entry of each list. */
  readonly #starts: number[] = [];
  #size = 0;

  /** Adds the entries of a layer. Returns the number of the first. */
  add(list: EntryList): number {
    const start = this.#size;
    if (start + list.length > maxEntryNumber) {
      throw new RegistryError({
        code: 'LIMIT_EXCEEDED',
        message: `The image's layers have more than ${maxEntryNumber} entries`,
        facts: { maxEntries: maxEntryNumber },
      });
    }
    this.#lists.push(list);
    this.#starts.push(start);
    this.#size += list.length;
    return start;
  }

  /** Yields the lists with the numbers of their first entries, from the lowest layer to the topmost. */
  *fromBase(): Generator<{ readonly list: EntryList; readonly start: number }> {
    const positions = this.#lists.keys().toArray();
    for (const position of positions.toSorted((a, b) => this.#layerAt(a) - this.#layerAt(b))) {
      const list = this.#lists[position];
      if (list !== undefined) yield { list, start: this.#starts[position] ?? 0 };
    }
  }

  toEntry(entry: number): LayerEntry {
    const { list, index } = this.#locate(entry);
    return list.toEntry(index);
  }

  /** Returns the target of a symbolic link. */
  targetOf(node: NodeCode): string {
    const entry = entryOf(node);
    if (entry === undefined) return '';
    const { list, index } = this.#locate(entry);
    return list.targetOf(index);
  }

  #layerAt(position: number): number {
    return this.#lists[position]?.layer ?? 0;
  }

  #locate(entry: number): { readonly list: EntryList; readonly index: number } {
    let low = 0;
    let high = this.#starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((this.#starts[middle] ?? 0) <= entry) low = middle;
      else high = middle - 1;
    }
    const list = this.#lists[low];
    if (list === undefined) throw new RangeError(`no entry ${entry}`);
    return { list, index: entry - (this.#starts[low] ?? 0) };
  }
}
