import { formatKey, type ObjectKey } from '../api/object-key.ts';

/** Returns the values by which an entry is indexed. */
export type IndexFunction<P> = (entry: P, key: ObjectKey) => readonly string[];

interface Entry<P> {
  readonly key: ObjectKey;
  readonly value: P;
  readonly resourceVersion: string | undefined;
}

/** Stores entries by key and by indexes. */
export class Store<P> {
  readonly #entries = new Map<string, Entry<P>>();
  readonly #indexes = new Map<string, { of: IndexFunction<P>; keys: Map<string, Set<string>> }>();

  constructor(indexes: Readonly<Record<string, IndexFunction<P>>> = {}) {
    for (const [name, of] of Object.entries(indexes)) this.#indexes.set(name, { of, keys: new Map() });
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Returns the keys as text. */
  keys(): IterableIterator<string> {
    return this.#entries.keys();
  }

  get(key: string): Entry<P> | undefined {
    return this.#entries.get(key);
  }

  values(): P[] {
    return Array.from(this.#entries.values(), ({ value }) => value);
  }

  /** @throws Error if the index does not exist */
  byIndex(name: string, value: string): P[] {
    const index = this.#indexes.get(name);
    if (index === undefined) throw new Error(`the cache has no index ${name}`);
    return Array.from(index.keys.get(value) ?? []).flatMap((key) => {
      const entry = this.#entries.get(key);
      return entry === undefined ? [] : [entry.value];
    });
  }

  set(key: ObjectKey, value: P, resourceVersion: string | undefined): void {
    const text = formatKey(key);
    this.delete(text);
    this.#entries.set(text, { key, value, resourceVersion });
    for (const { of, keys } of this.#indexes.values()) {
      for (const indexed of of(value, key)) {
        const bucket = keys.get(indexed) ?? new Set();
        keys.set(indexed, bucket.add(text));
      }
    }
  }

  delete(text: string): void {
    const entry = this.#entries.get(text);
    if (entry === undefined) return;
    this.#entries.delete(text);
    for (const { of, keys } of this.#indexes.values()) {
      for (const indexed of of(entry.value, entry.key)) {
        const bucket = keys.get(indexed);
        bucket?.delete(text);
        if (bucket?.size === 0) keys.delete(indexed);
      }
    }
  }
}
