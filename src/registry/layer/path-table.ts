import { randomFillSync } from 'node:crypto';
import { RegistryError } from '../model/errors.ts';

/**
 * The longest name that Linux allows, in characters (NAME_MAX is in bytes, and a character has at least one).
 */
export const maxNameLength = 255;

/** The most components that a path may have. */
export const maxPathDepth = 256;

/** Prefix of the name of an entry that hides what lower layers contain (image-spec, layer.md). */
export const whiteoutPrefix = '.wh.';

/** Limits of a table, so that a hostile image cannot exhaust memory. */
export interface PathLimits {
  /** Distinct paths, including directories without an entry of their own. */
  readonly maxPaths: number;
  /** Total characters of all names; a name counts once per directory. */
  readonly maxNameCharacters: number;
}

/**
 * Numbers the paths of an image: 0 is the root, and a directory has a lower number than its content. A path
 * takes about 30 bytes in arrays of numbers, where strings and maps would take several hundred.
 */
export class PathTable {
  readonly #limits: PathLimits;
  #parents = new Uint32Array(1024);
  /** The start of a name in `#characters`; it ends where the next one starts. */
  #starts = new Uint32Array(1024);
  #characters = new Uint16Array(16 * 1024);
  /** Open addressing: the number of a path, or 0 if free. */
  #slots = new Uint32Array(4096);
  /** Bits by which a hash is shifted to get a slot. */
  #shift = 20;
  #size = 1;

  constructor(limits: PathLimits) {
    this.#limits = limits;
  }

  /** The number of paths; the next one gets this number. */
  get size(): number {
    return this.#size;
  }

  parentOf(path: number): number {
    return this.#parents[path] ?? 0;
  }

  nameOf(path: number): string {
    const start = this.#starts[path] ?? 0;
    return String.fromCharCode(...this.#characters.subarray(start, this.#endOf(path)));
  }

  /** Tells whether the name is that of a whiteout. */
  isWhiteout(path: number): boolean {
    const start = this.#starts[path] ?? 0;
    if (this.#endOf(path) - start < whiteoutPrefix.length) return false;
    for (let at = 0; at < whiteoutPrefix.length; at++) {
      if (this.#characters[start + at] !== whiteoutPrefix.charCodeAt(at)) return false;
    }
    return true;
  }

  /** Returns the absolute path. */
  textOf(path: number): string {
    const names: string[] = [];
    for (let at = path; at !== 0; at = this.parentOf(at)) names.push(this.nameOf(at));
    return `/${names.toReversed().join('/')}`;
  }

  /** Returns the number of a name in a directory; 0 if it has none. */
  find(parent: number, name: string): number {
    const mask = this.#slots.length - 1;
    for (let slot = this.#hash(parent, name) >>> this.#shift; ; slot = (slot + 1) & mask) {
      const path = this.#slots[slot] ?? 0;
      if (path === 0 || this.#is(path, parent, name)) return path;
    }
  }

  /**
   * Returns the number of a name in a directory, assigning one if it has none.
   * @throws RegistryError LIMIT_EXCEEDED
   */
  add(parent: number, name: string): number {
    const known = this.find(parent, name);
    if (known !== 0) return known;
    const path = this.#size;
    const start = this.#starts[path] ?? 0;
    const end = start + name.length;
    const { maxPaths, maxNameCharacters } = this.#limits;
    if (path >= maxPaths) throw exceeded(`more than ${maxPaths} paths`, { maxPaths });
    if (end > maxNameCharacters)
      throw exceeded(`names of more than ${maxNameCharacters} characters in total`, { maxNameCharacters });
    this.#reserve(end);
    this.#parents[path] = parent;
    for (let at = 0; at < name.length; at++) this.#characters[start + at] = name.charCodeAt(at);
    this.#starts[path + 1] = end;
    this.#size += 1;
    this.#insert(path, this.#hash(parent, name));
    return path;
  }

  #endOf(path: number): number {
    return this.#starts[path + 1] ?? 0;
  }

  #is(path: number, parent: number, name: string): boolean {
    const start = this.#starts[path] ?? 0;
    if (this.#parents[path] !== parent || this.#endOf(path) - start !== name.length) return false;
    for (let at = 0; at < name.length; at++) {
      if (this.#characters[start + at] !== name.charCodeAt(at)) return false;
    }
    return true;
  }

  #reserve(characters: number): void {
    this.#parents = grown(this.#parents, this.#size + 1);
    this.#starts = grown(this.#starts, this.#size + 1);
    while (characters > this.#characters.length) {
      const larger = new Uint16Array(this.#characters.length * 2);
      larger.set(this.#characters);
      this.#characters = larger;
    }
    if (this.#size * 4 < this.#slots.length * 3) return;
    this.#slots = new Uint32Array(this.#slots.length * 2);
    this.#shift -= 1;
    for (let path = 1; path < this.#size; path++) {
      this.#insert(path, this.#hash(this.parentOf(path), this.nameOf(path)));
    }
  }

  #insert(path: number, hash: number): void {
    const mask = this.#slots.length - 1;
    let slot = hash >>> this.#shift;
    while (this.#slots[slot] !== 0) slot = (slot + 1) & mask;
    this.#slots[slot] = path;
  }

  /** Multiply-shift hashing of a vector with secret factors: nobody can craft names that collide. */
  #hash(parent: number, name: string): number {
    let hash = Math.imul(factor(0), parent & 0xffff) + Math.imul(factor(1), parent >>> 16);
    hash += Math.imul(factor(2), name.length);
    for (let at = 0; at < name.length; at++) {
      hash = (hash + Math.imul(factor(at + 3), name.charCodeAt(at))) | 0;
    }
    return hash >>> 0;
  }
}

const factors = randomFillSync(new Uint32Array(maxNameLength + 3));

function factor(index: number): number {
  return factors[index] ?? 0;
}

function exceeded(what: string, facts: Readonly<Record<string, number>>): RegistryError {
  return new RegistryError({ code: 'LIMIT_EXCEEDED', message: `The image's layers have ${what}`, facts });
}

/** A number for each path; grows with the path table. */
export type PathNumbers = Int32Array<ArrayBuffer>;

/** Returns the same numbers with room for all paths. */
export function resized(numbers: PathNumbers, size: number): PathNumbers {
  if (numbers.length >= size) return numbers;
  const larger = new Int32Array(Math.max(1024, size, Math.ceil(numbers.length * 1.5)));
  larger.set(numbers);
  return larger;
}

/** Returns the same numbers with room for one at `index`. */
export function grown(numbers: Uint32Array<ArrayBuffer>, index: number): Uint32Array<ArrayBuffer> {
  if (index < numbers.length) return numbers;
  const larger = new Uint32Array(numbers.length * 2);
  larger.set(numbers);
  return larger;
}
