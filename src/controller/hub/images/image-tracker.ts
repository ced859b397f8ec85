import { shortHash } from '../../../builder/names.ts';
import type { ModuleTarget } from '../../../builder/target.ts';
import { isSameResult, type ImageResult } from '../../module/kernel-result.ts';
import type { MappingError } from '../../module/kernel-mapping/errors.ts';
import { combineDesired, type ImageUser, type DesiredImage, type ImageWork } from './image-work.ts';

/** Returns the ID of an image in labels and queues. */
export function imageIdOf(image: string): string {
  return shortHash(image);
}

/** Caches the IDs of the images of targets: a target belongs to one view of one ManagedClusterModule. */
const ids = new WeakMap<ModuleTarget, string>();

function idOf(target: ModuleTarget): string {
  const id = ids.get(target) ?? imageIdOf(target.image);
  ids.set(target, id);
  return id;
}

interface Entry {
  readonly users: Map<string, readonly DesiredImage[]>;
  work: ImageWork;
  /** The outcome of the current work, or of the work before it. */
  result: ImageResult | undefined;
  isCurrent: boolean;
}

export interface ImageTrackerOptions {
  /** Called with each image whose work has changed, or that is no longer used. */
  readonly onWork: (id: string) => void;
  /** Whether the status of a ManagedClusterModule, by UID, says that an image is built as it specifies. */
  readonly isBuiltFor: (uid: string, image: string) => boolean;
}

/** Tracks which ManagedClusterModules use which images, and the state of those. It starts empty. */
export class ImageTracker {
  readonly #entries = new Map<string, Entry>();
  readonly #users = new Map<string, Map<string, readonly DesiredImage[]>>();
  readonly #options: ImageTrackerOptions;

  constructor(options: ImageTrackerOptions) {
    this.#options = options;
  }

  /** Replaces the images of a ManagedClusterModule. The same targets change nothing. */
  register({ uid }: ImageUser, desired: readonly DesiredImage[]): void {
    const next = new Map<string, DesiredImage[]>();
    for (const image of desired) {
      const id = idOf(image.target);
      const known = next.get(id);
      if (known === undefined) next.set(id, [image]);
      else known.push(image);
    }
    const before = this.#users.get(uid) ?? new Map<string, readonly DesiredImage[]>();
    this.#users.set(uid, next);
    for (const id of new Set([...before.keys(), ...next.keys()])) {
      const now = next.get(id) ?? [];
      if (!isSame(before.get(id) ?? [], now)) this.#replace(id, uid, now);
    }
  }

  /** Forgets a ManagedClusterModule that was deleted. */
  unregister(uid: string): void {
    const before = this.#users.get(uid);
    this.#users.delete(uid);
    for (const id of before?.keys() ?? []) this.#replace(id, uid, []);
  }

  /** Returns whether a ManagedClusterModule has registered its images. */
  isRegistered(uid: string): boolean {
    return this.#users.has(uid);
  }

  /** Returns the IDs of all images. */
  all(): string[] {
    return [...this.#entries.keys()];
  }

  /** Returns the work on an image, or undefined if nothing uses it. */
  work(id: string): ImageWork | undefined {
    return this.#entries.get(id)?.work;
  }

  /** Returns the latest outcome of an image, which may be that of earlier work. */
  latest(id: string): ImageResult | undefined {
    return this.#entries.get(id)?.result;
  }

  /** Returns the outcome of the current work on an image, or an error for a conflicting target. */
  outcome(target: ModuleTarget): ImageResult | MappingError | undefined {
    const entry = this.#entries.get(idOf(target));
    const conflict = entry?.work.conflicts.get(target);
    return conflict ?? (entry?.isCurrent === true ? entry.result : undefined);
  }

  /**
   * Records the outcome of work.
   * @returns whether it is new; undefined if the work has changed meanwhile, so that it does not count
   */
  record(id: string, work: ImageWork, result: ImageResult): boolean | undefined {
    const entry = this.#entries.get(id);
    if (entry === undefined || entry.work !== work) return undefined;
    const isNew = !entry.isCurrent || !isSameResult(result, entry.result);
    entry.result = result;
    entry.isCurrent = true;
    return isNew;
  }

  #replace(id: string, uid: string, desired: readonly DesiredImage[]): void {
    const known = this.#entries.get(id);
    const users = known?.users ?? new Map<string, readonly DesiredImage[]>();
    users.delete(uid);
    if (desired.length > 0) users.set(uid, desired);
    const [first, ...others] = [...users.values()].flat();
    if (first === undefined) this.#entries.delete(id);
    else {
      // Precedence must not depend on arrival order before work has begun: it may differ after a restart.
      const before = known?.result === undefined ? undefined : known.work.user.uid;
      const isBuiltFor = (user: string): boolean => this.#options.isBuiltFor(user, first.target.image);
      const work = combineDesired([first, ...others], { before, isBuiltFor });
      this.#entries.set(id, { users, work, result: known?.result, isCurrent: false });
    }
    this.#options.onWork(id);
  }
}

function isSame(before: readonly DesiredImage[], now: readonly DesiredImage[]): boolean {
  return (
    before.length === now.length &&
    before.every(({ user, target }, index) => user === now[index]?.user && target === now[index]?.target)
  );
}
