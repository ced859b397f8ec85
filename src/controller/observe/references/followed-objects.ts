import { whenAborted } from '../../../shared/abortable.ts';
import type { Logger } from '../../../shared/logger.ts';
import type { ApiClient } from '../../runtime/api/client.ts';
import { formatKey, type KubernetesObject, type ObjectKey } from '../../runtime/api/object-key.ts';
import type { ReferenceSource } from './projections.ts';
import type { NamespacedKey } from './reference.ts';
import { ReferencedObject } from './referenced-object.ts';

/** Called with the users of an object that has changed. */
export type ChangeHandler = (users: readonly ObjectKey[]) => void;

interface Followed<T extends KubernetesObject, P> {
  readonly object: ReferencedObject<T, P>;
  readonly users: Map<string, ObjectKey>;
  readonly stop: AbortController;
  /** Settles when its watch has ended. */
  done: Promise<void> | undefined;
}

/** The objects in use of one kind of reference, each with its own watch. */
export class FollowedObjects<T extends KubernetesObject, P> {
  readonly #client: ApiClient;
  readonly #source: ReferenceSource<T, P>;
  readonly #log: Logger;
  readonly #onChange: ChangeHandler;
  readonly #followed = new Map<string, Followed<T, P>>();
  #running: AbortSignal | undefined;

  constructor(client: ApiClient, source: ReferenceSource<T, P>, log: Logger, onChange: ChangeHandler) {
    this.#client = client;
    this.#source = source;
    this.#log = log;
    this.#onChange = onChange;
  }

  get size(): number {
    return this.#followed.size;
  }

  /** Follows the objects in use until the signal is aborted. Call it once. */
  async run(signal: AbortSignal): Promise<void> {
    this.#running = signal;
    for (const followed of this.#followed.values()) this.#start(followed);
    await whenAborted(signal);
    for (const { done } of this.#followed.values()) await done;
  }

  /** Replaces the objects of this kind that a user uses. */
  use(user: ObjectKey, keys: readonly NamespacedKey[]): void {
    const used = new Map(keys.map((key) => [formatKey(key), key]));
    const name = formatKey(user);
    for (const [text, key] of used) this.#follow(text, key).users.set(name, user);
    for (const [text, followed] of this.#followed) {
      if (used.has(text) || !followed.users.delete(name) || followed.users.size > 0) continue;
      followed.stop.abort();
      this.#followed.delete(text);
    }
  }

  /**
   * Returns the cached part of an object; undefined if the object does not exist.
   * @throws ReferencedObjectError, ApiError
   */
  read(key: NamespacedKey): Promise<P | undefined> {
    const object = this.#followed.get(formatKey(key))?.object ?? this.#object(key, () => {});
    return object.read();
  }

  #follow(text: string, key: NamespacedKey): Followed<T, P> {
    const existing = this.#followed.get(text);
    if (existing !== undefined) return existing;
    const users = new Map<string, ObjectKey>();
    const object = this.#object(key, () => this.#onChange([...users.values()]));
    const followed = { object, users, stop: new AbortController(), done: undefined };
    this.#followed.set(text, followed);
    this.#start(followed);
    return followed;
  }

  #object(key: NamespacedKey, onChange: () => void): ReferencedObject<T, P> {
    return new ReferencedObject(this.#client, this.#source, key, this.#log, onChange);
  }

  #start(followed: Followed<T, P>): void {
    if (this.#running === undefined || this.#running.aborted || followed.done !== undefined) return;
    followed.done = followed.object.follow(AbortSignal.any([this.#running, followed.stop.signal]));
  }
}
