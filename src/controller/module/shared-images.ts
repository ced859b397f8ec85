import type { ModuleStatus } from '../../api/module/module.ts';
import { formatReference, parseReference } from '../../registry/model/reference.ts';
import { KmmError } from '../../shared/errors.ts';
import type { CachedModule } from '../observe/cluster/caches.ts';
import { formatKey, type ObjectKey } from '../runtime/api/object-key.ts';
import { isBeingDeleted } from '../runtime/finalizers.ts';
import type { Condition, Finding } from './conditions.ts';
import type { KernelEvent } from './kernel-events.ts';
import type { WantedKernel } from './wanted-kernels.ts';

const conditionType = 'SharedImages';
/** The most images, and Modules per image, that the condition names. */
const maxNamed = 3;

/** An image that other Modules push, too. */
export interface SharedImage {
  readonly image: string;
  /** Those Modules, as namespace/name, sorted. */
  readonly others: readonly string[];
}

/** Tracks which Modules push which images, so that those that push the same are told of each other. */
export class ImagePushers {
  /** Images by Module, and Modules by image. */
  readonly #images = new Map<string, ReadonlySet<string>>();
  readonly #modules = new Map<string, Map<string, ObjectKey>>();

  /** Returns whether a Module has registered. */
  has(module: ObjectKey): boolean {
    return this.#images.has(formatKey(module));
  }

  /** Replaces the images that a Module pushes. @returns the other Modules whose `sharedBy` has changed */
  register(module: ObjectKey, images: readonly string[]): ObjectKey[] {
    const name = formatKey(module);
    const before = this.#images.get(name) ?? new Set<string>();
    const now = new Set(images);
    this.#images.set(name, now);
    const affected = new Map<string, ObjectKey>();
    for (const image of new Set([...before, ...now])) {
      if (before.has(image) === now.has(image)) continue;
      const modules = this.#modules.get(image) ?? new Map<string, ObjectKey>();
      if (now.has(image)) modules.set(name, module);
      else modules.delete(name);
      if (modules.size === 0) this.#modules.delete(image);
      else this.#modules.set(image, modules);
      for (const [other, key] of modules) if (other !== name) affected.set(other, key);
    }
    return [...affected.values()];
  }

  /** Forgets a Module. @returns the other Modules whose `sharedBy` has changed */
  unregister(module: ObjectKey): ObjectKey[] {
    const affected = this.register(module, []);
    this.#images.delete(formatKey(module));
    return affected;
  }

  /** Returns the images of a Module that others push, too, sorted. */
  sharedBy(module: ObjectKey): SharedImage[] {
    const name = formatKey(module);
    return [...(this.#images.get(name) ?? [])].toSorted().flatMap((image) => {
      const others = [...(this.#modules.get(image)?.keys() ?? [])].filter((other) => other !== name);
      return others.length === 0 ? [] : [{ image, others: others.toSorted() }];
    });
  }
}

/** Lets Modules that push one image know of each other. */
export class ImageSharing {
  readonly #pushers = new ImagePushers();
  readonly #modules: () => readonly CachedModule[];
  readonly #enqueue: (modules: readonly ObjectKey[]) => void;
  /** Modules that asked before all had registered; undefined once all have. */
  #early: Map<string, ObjectKey> | undefined = new Map();

  /**
   * @param modules returns all Modules in the cache
   * @param enqueue called with Modules that must be reconciled because of another one
   */
  constructor(modules: () => readonly CachedModule[], enqueue: (modules: readonly ObjectKey[]) => void) {
    this.#modules = modules;
    this.#enqueue = enqueue;
  }

  /**
   * Registers the images that a Module pushes.
   * @returns those that others push, too; undefined until all Modules have registered since the start
   */
  register(
    module: ObjectKey,
    wanted: readonly Pick<WantedKernel, 'target'>[],
  ): readonly SharedImage[] | undefined {
    this.#enqueue(this.#pushers.register(module, pushedImages(wanted)));
    if (this.#early === undefined) return this.#pushers.sharedBy(module);
    const isComplete = this.#modules().every(
      (one) => one.module === undefined || isBeingDeleted(one) || this.#pushers.has(one.key),
    );
    if (!isComplete) {
      this.#early.set(formatKey(module), module);
      return undefined;
    }
    this.#early.delete(formatKey(module));
    this.#enqueue([...this.#early.values()]);
    this.#early = undefined;
    return this.#pushers.sharedBy(module);
  }

  /** Forgets a Module that is invalid or being deleted. */
  unregister(module: ObjectKey): void {
    this.#enqueue(this.#pushers.unregister(module));
  }

  /** Returns whether others push an image of a Module, too. */
  isShared(module: ObjectKey, { target }: Pick<WantedKernel, 'target'>): boolean {
    if (target instanceof KmmError) return false;
    const name = canonicalName(target.image);
    return this.#pushers.sharedBy(module).some(({ image }) => image === name);
  }
}

/** Returns the images that a Module has built or signed, in canonical form. */
function pushedImages(wanted: readonly Pick<WantedKernel, 'target'>[]): string[] {
  return wanted.flatMap(({ target }) =>
    target instanceof KmmError || (target.build === undefined && target.sign === undefined)
      ? []
      : [canonicalName(target.image)],
  );
}

/** Returns an image's name with all defaults; one that cannot be parsed is returned unchanged. */
export function canonicalName(image: string): string {
  try {
    return formatReference(parseReference(image));
  } catch {
    return image;
  }
}

/**
 * Returns the finding about images that others push, too.
 * @param shared undefined until all Modules have registered: then the status stays as it is
 */
export function sharedImagesFinding(
  shared: readonly SharedImage[] | undefined,
  status: ModuleStatus | undefined,
): Finding[] {
  if (shared === undefined) {
    const earlier = conditionOf(status);
    if (earlier === undefined) return [];
    const { type, status: value, reason, message } = earlier;
    return [{ type, status: value, reason, message }];
  }
  if (shared.length === 0) return [];
  const texts = shared.slice(0, maxNamed).map(({ image, others }) => `${image} by ${listed(others)}`);
  const more = shared.length > maxNamed ? ` (and ${shared.length - maxNamed} more images)` : '';
  const message = `Images are built or signed by other Modules, too, and each overwrites what the others push: ${texts.join('; ')}${more}. Give each Module its own containerImage`;
  return [{ type: conditionType, status: 'True', reason: 'PushedByOthers', message }];
}

/** Returns the event for such a finding that is new. */
export function sharedImagesEvents(status: ModuleStatus, earlier: ModuleStatus | undefined): KernelEvent[] {
  const message = conditionOf(status)?.message;
  if (message === undefined || message === conditionOf(earlier)?.message) return [];
  return [{ type: 'Warning', reason: 'ImagesShared', action: 'Reconcile', note: message }];
}

function listed(others: readonly string[]): string {
  const first = others.slice(0, maxNamed).join(', ');
  return others.length > maxNamed ? `${first} and ${others.length - maxNamed} others` : first;
}

function conditionOf(status: ModuleStatus | undefined): Condition | undefined {
  return status?.conditions?.find(({ type }) => type === conditionType);
}
