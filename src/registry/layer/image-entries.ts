import { RegistryError } from '../model/errors.ts';
import type { EntryList } from './entry-list.ts';
import type { LayerEntry } from './layer-source.ts';
import { entryOf, maxEntryNumber, type NodeCode } from './node-code.ts';

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
