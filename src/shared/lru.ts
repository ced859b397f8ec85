/** A map of limited size that evicts the least recently used entries. */
export class LruMap<T> {
  readonly #limit: number;
  readonly #sizeOf: (value: T) => number;
  /** Least recently used first. */
  readonly #entries = new Map<string, T>();
  #size = 0;

  /**
   * @param limit of the number of entries, or of their sizes together
   * @param sizeOf returns the size of an entry, always the same. @default 1
   */
  constructor(limit: number, sizeOf: (value: T) => number = () => 1) {
    this.#limit = limit;
    this.#sizeOf = sizeOf;
  }

  get(key: string): T | undefined {
    const value = this.#entries.get(key);
    if (value === undefined) return undefined;
    this.#entries.delete(key);
    this.#entries.set(key, value);
    return value;
  }

  /** Keeps a value, unless it alone is larger than the limit. */
  set(key: string, value: T): void {
    this.delete(key);
    const size = this.#sizeOf(value);
    if (size > this.#limit) return;
    this.#entries.set(key, value);
    this.#size += size;
    for (const oldest of this.#entries.keys()) {
      if (this.#size <= this.#limit) return;
      this.delete(oldest);
    }
  }

  delete(key: string): void {
    const value = this.#entries.get(key);
    if (value === undefined) return;
    this.#entries.delete(key);
    this.#size -= this.#sizeOf(value);
  }

  values(): T[] {
    return [...this.#entries.values()];
  }
}
