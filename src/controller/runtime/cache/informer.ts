import { abortable } from '../../../shared/abortable.ts';
import { silentLogger, type Logger } from '../../../shared/logger.ts';
import { formatKey, keyOf, parseKey, type KubernetesObject, type ObjectKey } from '../api/object-key.ts';
import { runListWatch, type ListWatchOptions, type ListWatchSink } from './list-watch.ts';
import { Store, type IndexFunction } from './store.ts';

/** A change of an object. Reconcilers only use the key: events may be merged. */
export type CacheEvent<P> =
  | { readonly type: 'added'; readonly key: ObjectKey; readonly object: P }
  | { readonly type: 'updated'; readonly key: ObjectKey; readonly object: P; readonly previous: P }
  | { readonly type: 'deleted'; readonly key: ObjectKey; readonly previous: P };

/** Returns the current object of an event, or its last state if it was deleted. */
export function objectOf<P>(event: CacheEvent<P>): P {
  return event.type === 'deleted' ? event.previous : event.object;
}

export type CacheHandler<P> = (event: CacheEvent<P>) => void;

export interface InformerOptions<T extends KubernetesObject, P> extends ListWatchOptions<T> {
  /**
   * Returns the part of an object that is cached: as little as is used. `previous` is what was cached of the same
   * object before.
   */
  readonly project: (object: T, previous?: P) => P;
  readonly indexes?: Readonly<Record<string, IndexFunction<P>>> | undefined;
}

/** A cache of a cluster's objects of one kind, reduced to what is used, that follows the cluster. */
export class Informer<T extends KubernetesObject, P> {
  readonly #options: InformerOptions<T, P>;
  readonly #store: Store<P>;
  readonly #handlers = new Set<CacheHandler<P>>();
  readonly #synced = Promise.withResolvers<void>();
  readonly #log: Logger;
  #hasSynced = false;
  /** Keys that the list in progress has not returned yet. */
  #unseen = new Set<string>();

  constructor(options: InformerOptions<T, P>) {
    this.#options = options;
    this.#store = new Store(options.indexes);
    this.#log = options.log ?? silentLogger;
  }

  /** Whether the first list is complete. */
  get hasSynced(): boolean {
    return this.#hasSynced;
  }

  get size(): number {
    return this.#store.size;
  }

  get(key: ObjectKey): P | undefined {
    return this.#store.get(formatKey(key))?.value;
  }

  list(): P[] {
    return this.#store.values();
  }

  /** @throws Error if the index does not exist */
  byIndex(name: string, value: string): P[] {
    return this.#store.byIndex(name, value);
  }

  /** Calls a handler for each cached object and for every change. Returns the function that removes it. */
  onEvent(handler: CacheHandler<P>): () => void {
    this.#handlers.add(handler);
    for (const text of this.#store.keys()) {
      const entry = this.#store.get(text);
      if (entry !== undefined) this.#notify(handler, { type: 'added', key: entry.key, object: entry.value });
    }
    return () => this.#handlers.delete(handler);
  }

  /** Waits for the first complete list. Rejects when the signal is aborted. */
  async waitForSync(signal: AbortSignal): Promise<void> {
    await abortable(this.#synced.promise, signal);
  }

  /** Follows the cluster until the signal is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    const sink: ListWatchSink<T> = {
      listStarted: () => {
        this.#unseen = new Set(this.#store.keys());
      },
      listed: (object) => this.#put(object),
      listEnded: () => this.#endList(),
      changed: (object) => this.#put(object),
      deleted: (object) => this.#remove(formatKey(keyOf(object))),
    };
    await runListWatch(this.#options, sink, signal);
  }

  #put(object: T): void {
    const key = keyOf(object);
    const text = formatKey(key);
    this.#unseen.delete(text);
    const { resourceVersion } = object.metadata;
    const before = this.#store.get(text);
    if (before !== undefined && before.resourceVersion === resourceVersion) return;
    const value = this.#options.project(object, before?.value);
    this.#store.set(key, value, resourceVersion);
    this.#notifyAll(
      before === undefined
        ? { type: 'added', key, object: value }
        : { type: 'updated', key, object: value, previous: before.value },
    );
  }

  #remove(text: string): void {
    const before = this.#store.get(text);
    if (before === undefined) return;
    this.#store.delete(text);
    this.#notifyAll({ type: 'deleted', key: parseKey(text), previous: before.value });
  }

  #endList(): void {
    for (const text of this.#unseen) this.#remove(text);
    this.#unseen.clear();
    this.#hasSynced = true;
    this.#synced.resolve();
  }

  #notifyAll(event: CacheEvent<P>): void {
    for (const handler of this.#handlers) this.#notify(handler, event);
  }

  /** Calls a handler. Its errors do not affect the cache. */
  #notify(handler: CacheHandler<P>, event: CacheEvent<P>): void {
    try {
      handler(event);
    } catch (error) {
      this.#log.error('cache handler failed', { resource: this.#options.resource.plural, error });
    }
  }
}
