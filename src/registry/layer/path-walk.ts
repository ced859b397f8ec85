import { RegistryError } from '../model/errors.ts';
import { kindOf, kinds, type NodeCode } from './node-code.ts';
import { maxPathDepth, type PathTable } from './path-table.ts';
import type { StepBudget } from './step-budget.ts';

/** The most symbolic links that Linux follows in one path. */
const maxLinks = 40;

/** A tree to walk in. Paths are the numbers of physical paths, without symbolic links. */
export interface WalkedTree {
  /**
   * Returns the node at a path whose parent is the last one on the trail; may create or refuse it if the walk
   * is on its way to something.
   * @param depth the number of directories above it
   */
  enter(path: number, depth: number, followedLinks: boolean): NodeCode | 'blocked';
  /** Tells whether an entered path is a directory. */
  isDirectory(path: number): boolean;
  /** Returns the target of a symbolic link. */
  targetOf(node: NodeCode): string;
  /**
   * Returns the number of a name, assigning one if it has none. By default, a name without a number does not
   * exist.
   */
  readonly add?: (parent: number, name: string) => number;
}

/**
 * How a walk ended. The last name is on the trail even if it does not exist, unless its parent was a file or
 * no path has that name.
 */
export type WalkEnd = 'found' | 'absent' | 'loop' | 'blocked';

/**
 * Walks paths as the kernel does inside a root directory: follows links, and `..` of the root is the root.
 * Reusable.
 */
export class PathWalk {
  readonly #paths: PathTable;
  readonly #steps: StepBudget;
  /** Physical paths from below the root to the current position. */
  readonly trail: number[] = [];
  /** Whether any symbolic link was followed. */
  followedLinks = false;
  /** Whether a symbolic link at the end of the path was followed. */
  endsInLink = false;
  /** The names still to walk: a name, or the number of the path that has it. */
  readonly #pending: (string | number)[] = [];

  constructor(paths: PathTable, steps: StepBudget) {
    this.#paths = paths;
    this.#steps = steps;
  }

  /** The current position: a physical path. */
  get at(): number {
    return this.trail.at(-1) ?? 0;
  }

  /** Walks the path with this number as it is written. */
  walkWritten(tree: WalkedTree, written: number, followLast: boolean): WalkEnd {
    this.#begin();
    for (let path = written; path !== 0; path = this.#paths.parentOf(path)) this.#pending.push(path);
    return this.#walk(tree, followLast);
  }

  /** Walks a path, taken as absolute. */
  walkText(tree: WalkedTree, path: string, followLast: boolean): WalkEnd {
    this.#begin();
    this.#push(path);
    return this.#walk(tree, followLast);
  }

  #begin(): void {
    this.trail.length = 0;
    this.#pending.length = 0;
    this.followedLinks = false;
    this.endsInLink = false;
  }

  #push(path: string): void {
    const names = path.split('/');
    for (let at = names.length - 1; at >= 0; at--) {
      const name = names[at] ?? '';
      if (name !== '' && name !== '.') this.#pending.push(name);
    }
  }

  #walk(tree: WalkedTree, followLast: boolean): WalkEnd {
    const { trail } = this;
    let links = 0;
    for (let next = this.#pending.pop(); next !== undefined; next = this.#pending.pop()) {
      this.#steps.take();
      if (next === '..') {
        trail.pop();
        continue;
      }
      const parent = this.at;
      if (parent !== 0 && !tree.isDirectory(parent)) return 'absent';
      const path = this.#pathOf(tree, parent, next);
      if (path === 0) return 'absent';
      if (trail.length >= maxPathDepth) throw tooDeep();
      const node = tree.enter(path, trail.length, this.followedLinks);
      if (node === 'blocked') return 'blocked';
      const kind = kindOf(node);
      if (kind === kinds.symlink && (followLast || this.#pending.length > 0)) {
        if (++links > maxLinks) return 'loop';
        this.followedLinks = true;
        this.endsInLink ||= this.#pending.length === 0;
        const target = tree.targetOf(node);
        if (target.startsWith('/')) trail.length = 0;
        this.#push(target);
        continue;
      }
      trail.push(path);
      if (kind === kinds.nothing || kind === kinds.whiteout || kind === kinds['foreign-link'])
        return 'absent';
    }
    return 'found';
  }

  /** Returns the physical path of the next name, usually the written path itself. */
  #pathOf(tree: WalkedTree, parent: number, next: string | number): number {
    if (typeof next === 'number' && this.#paths.parentOf(next) === parent) return next;
    const name = typeof next === 'number' ? this.#paths.nameOf(next) : next;
    return tree.add?.(parent, name) ?? this.#paths.find(parent, name);
  }
}

function tooDeep(): RegistryError {
  return new RegistryError({
    code: 'LIMIT_EXCEEDED',
    message: `Symbolic links of the image's layers lead to a path of more than ${maxPathDepth} parts`,
    facts: { maxPathDepth },
  });
}
