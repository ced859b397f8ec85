import { shortHash } from '../../../builder/names.ts';
import type { ModuleTarget } from '../../../builder/target.ts';
import type { ImageResult } from '../../module/kernel-result.ts';
import { isSameValue } from '../../runtime/same-value.ts';
import type { MappingError } from '../../module/kernel-mapping/errors.ts';
import { combineWants, type ImageUser, type ImageWant, type ImageWork } from './image-work.ts';

/** Names an image in labels and queues. */
export function imageIdOf(image: string): string {
  return shortHash(image);
}

interface Entry {
  readonly wants: Map<string, readonly ImageWant[]>;
  work: ImageWork;
  /** What became of the work as it is, or as it was. */
  result: ImageResult | undefined;
  isCurrent: boolean;
}

export interface ImageBoardOptions {
  /** Told of each image whose work has changed, or that nobody wants any more. */
  readonly onWork: (id: string) => void;
  /** Whether the status of a ManagedClusterModule, by UID, says that an image is made as it wants. */
  readonly isStanding: (uid: string, image: string) => boolean;
}

/** Who wants which images, and how far they are. It is filled anew after each start. */
export class ImageBoard {
  readonly #entries = new Map<string, Entry>();
  readonly #users = new Map<string, Map<string, readonly ImageWant[]>>();
  readonly #options: ImageBoardOptions;

  constructor(options: ImageBoardOptions) {
    this.#options = options;
  }

  /** Replaces what a ManagedClusterModule wants. The same targets again change nothing. */
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

  /** Forgets a ManagedClusterModule that is gone. */
  drop(uid: string): void {
    const before = this.#users.get(uid);
    this.#users.delete(uid);
    for (const id of before?.keys() ?? []) this.#replace(id, uid, []);
  }

  /** Whether a ManagedClusterModule has said what it wants. */
  knows(uid: string): boolean {
    return this.#users.has(uid);
  }

  /** The images that somebody wants. */
  all(): string[] {
    return [...this.#entries.keys()];
  }

  /** The work on an image; undefined: nobody wants it. */
  work(id: string): ImageWork | undefined {
    return this.#entries.get(id)?.work;
  }

  /** What became of an image at the last look, whatever was wanted of it then. */
  last(id: string): ImageResult | undefined {
    return this.#entries.get(id)?.result;
  }

  /** What became of an image as it is wanted; an error for who wants something else than others do. */
  outcome(target: ModuleTarget): ImageResult | MappingError | undefined {
    const entry = this.#entries.get(imageIdOf(target.image));
    const conflict = entry?.work.conflicts.get(target);
    return conflict ?? (entry?.isCurrent === true ? entry.result : undefined);
  }

  /**
   * Puts down what became of work.
   * @returns whether that is news; undefined: the work has changed meanwhile, so this does not count
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
      // Who came first decides nothing before work has begun: after a restart others may come first.
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
