import { shortHash } from '../../../builder/names.ts';
import type { ModuleTarget } from '../../../builder/target.ts';
import type { ImageResult } from '../../module/kernel-result.ts';
import { isSameValue } from '../../runtime/same-value.ts';
import type { MappingError } from '../../module/kernel-mapping/errors.ts';
import { combineWants, type ImageUser, type ImageWant, type ImageWork } from './image-work.ts';

/** Returns the ID of an image in labels and queues. */
export function imageIdOf(image: string): string {
  return shortHash(image);
}

interface Entry {
  readonly wants: Map<string, readonly ImageWant[]>;
  work: ImageWork;
  /** The outcome of the current work, or of the work before it. */
  result: ImageResult | undefined;
  isCurrent: boolean;
}

export interface ImageBoardOptions {
  /** Called with each image whose work has changed, or that is no longer wanted. */
  readonly onWork: (id: string) => void;
  /** Whether the status of a ManagedClusterModule, by UID, says that an image is built as it wants. */
  readonly isStanding: (uid: string, image: string) => boolean;
}

/** Who wants which images, and how far they are. It is rebuilt after each start. */
export class ImageBoard {
  readonly #entries = new Map<string, Entry>();
  readonly #users = new Map<string, Map<string, readonly ImageWant[]>>();
  readonly #options: ImageBoardOptions;

  constructor(options: ImageBoardOptions) {
    this.#options = options;
  }

  /** Replaces what a ManagedClusterModule wants. The same targets change nothing. */
  want({ uid }: ImageUser, wants: readonly ImageWant[]): void {
    const next = new Map<string, ImageWant[]>();
    for (const want of wants) {
      const id = imageIdOf(want.target.image);
      const known = next.get(id);
      if (known === undefined) next.set(id, [want]);
      else known.push(want);
    }
    const before = this.#users.get(uid) ?? new Map<string, readonly ImageWant[]>();
    this.#users.set(uid, next);
    for (const id of new Set([...before.keys(), ...next.keys()])) {
      const now = next.get(id) ?? [];
      if (!isSame(before.get(id) ?? [], now)) this.#replace(id, uid, now);
    }
  }

  /** Forgets a ManagedClusterModule that was deleted. */
  drop(uid: string): void {
    const before = this.#users.get(uid);
    this.#users.delete(uid);
    for (const id of before?.keys() ?? []) this.#replace(id, uid, []);
  }

  /** Returns whether a ManagedClusterModule has registered what it wants. */
  knows(uid: string): boolean {
    return this.#users.has(uid);
  }

  /** Returns the images that are wanted. */
  all(): string[] {
    return [...this.#entries.keys()];
  }

  /** Returns the work on an image, or undefined if nobody wants it. */
  work(id: string): ImageWork | undefined {
    return this.#entries.get(id)?.work;
  }

  /** Returns the last outcome of an image, whatever was wanted of it then. */
  last(id: string): ImageResult | undefined {
    return this.#entries.get(id)?.result;
  }

  /** Returns the outcome of an image as it is wanted now, or an error for a conflicting target. */
  outcome(target: ModuleTarget): ImageResult | MappingError | undefined {
    const entry = this.#entries.get(imageIdOf(target.image));
    const conflict = entry?.work.conflicts.get(target);
    return conflict ?? (entry?.isCurrent === true ? entry.result : undefined);
  }

  /**
   * Records the outcome of work.
   * @returns whether it is new; undefined if the work has changed meanwhile, so it does not count
   */
  put(id: string, work: ImageWork, result: ImageResult): boolean | undefined {
    const entry = this.#entries.get(id);
    if (entry === undefined || entry.work !== work) return undefined;
    const isNews = !entry.isCurrent || !isSameValue(entry.result?.state, result.state);
    entry.result = result;
    entry.isCurrent = true;
    return isNews;
  }

  #replace(id: string, uid: string, wants: readonly ImageWant[]): void {
    const known = this.#entries.get(id);
    const users = known?.wants ?? new Map<string, readonly ImageWant[]>();
    users.delete(uid);
    if (wants.length > 0) users.set(uid, wants);
    const [first, ...others] = [...users.values()].flat();
    if (first === undefined) this.#entries.delete(id);
    else {
      // Precedence must not depend on arrival order before work has begun: it may differ after a restart.
      const before = known?.result === undefined ? undefined : known.work.user.uid;
      const isStanding = (user: string): boolean => this.#options.isStanding(user, first.target.image);
      const work = combineWants([first, ...others], { before, isStanding });
      this.#entries.set(id, { wants: users, work, result: known?.result, isCurrent: false });
    }
    this.#options.onWork(id);
  }
}

function isSame(before: readonly ImageWant[], now: readonly ImageWant[]): boolean {
  return (
    before.length === now.length &&
    before.every(({ user, target }, index) => user === now[index]?.user && target === now[index]?.target)
  );
}
