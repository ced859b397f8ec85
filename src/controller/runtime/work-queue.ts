import { performance } from 'node:perf_hooks';
import { backoffDelay, type BackoffLimits } from '../../shared/backoff.ts';
import { formatKey, parseKey, type ObjectKey } from './api/object-key.ts';

/** Receives events of a queue, for metrics. Times in seconds. */
export interface QueueObserver {
  added(): void;
  retried(): void;
  /** An item left the queue after this time in it. */
  taken(waited: number): void;
  /** Work on an item took this time. */
  worked(took: number): void;
}

export interface WorkQueueOptions {
  /** Delays after failures. @default 5 ms, doubled up to 1000 s */
  readonly backoff?: BackoffLimits | undefined;
  readonly observer?: QueueObserver | undefined;
  /** Keys processed concurrently per namespace; keys without one are not limited. @default no limit */
  readonly maxPerNamespace?: number | undefined;
}

const defaultBackoff = { first: 5, limit: 1_000_000 };
/** setTimeout uses 32 bits. Milliseconds. */
const longestTimer = 2_147_483_647;

/**
 * A queue of keys to process. A key is queued once, however often it is added; one that is added while being
 * processed is queued again afterwards, so no key is processed twice at once. Namespaces take turns.
 */
export class WorkQueue {
  readonly #backoff: BackoffLimits;
  readonly #observer: QueueObserver | undefined;
  readonly #maxPerNamespace: number;
  /** By namespace, in the order of turns: its keys in the order of work, with the time of addition. */
  readonly #ready = new Map<string | undefined, Map<string, number>>();
  /** How many keys of a namespace are being processed. */
  readonly #activeIn = new Map<string | undefined, number>();
  /** Keys being processed, with the start time. */
  readonly #active = new Map<string, number>();
  /** Keys added while being processed. */
  readonly #dirty = new Set<string>();
  readonly #delayed = new Map<string, { timer: NodeJS.Timeout; at: number }>();
  readonly #failures = new Map<string, number>();
  readonly #takers: ((key: ObjectKey | undefined) => void)[] = [];
  #stopped = false;

  constructor({ backoff = defaultBackoff, observer, maxPerNamespace = Infinity }: WorkQueueOptions = {}) {
    this.#backoff = backoff;
    this.#maxPerNamespace = maxPerNamespace;
    this.#observer = observer;
  }

  /** The number of keys that wait for a worker. */
  get depth(): number {
    return this.#ready.values().reduce((sum, keys) => sum + keys.size, 0);
  }

  /** For each key being processed, the seconds so far. */
  get activeSeconds(): number[] {
    const now = performance.now();
    return Array.from(this.#active.values(), (started) => (now - started) / 1000);
  }

  /** Adds a key at once. */
  add(key: ObjectKey): void {
    this.#add(formatKey(key));
  }

  /** Adds a key after some milliseconds. The earliest of several times counts. */
  addAfter(key: ObjectKey, milliseconds: number): void {
    if (this.#stopped) return;
    const text = formatKey(key);
    if (milliseconds <= 0) return this.#add(text);
    const delay = Math.min(milliseconds, longestTimer);
    const at = performance.now() + delay;
    const scheduled = this.#delayed.get(text);
    if (scheduled !== undefined && scheduled.at <= at) return;
    clearTimeout(scheduled?.timer);
    this.#delayed.set(text, { timer: setTimeout(() => this.#add(text), delay), at });
  }

  /** Adds a key whose work failed, after a delay that grows with each consecutive failure. */
  retry(key: ObjectKey): void {
    const text = formatKey(key);
    const failures = this.failures(key) + 1;
    this.#failures.set(text, failures);
    this.#observer?.retried();
    this.addAfter(key, backoffDelay(failures, this.#backoff));
  }

  /** Returns the number of the key's consecutive failures. */
  failures(key: ObjectKey): number {
    return this.#failures.get(formatKey(key)) ?? 0;
  }

  /** Forgets the key's failures. */
  forget(key: ObjectKey): void {
    this.#failures.delete(formatKey(key));
  }

  /** Waits for a key, for which `done` must be called. Returns undefined when the queue is stopped. */
  take(): Promise<ObjectKey | undefined> {
    return new Promise((resolve) => {
      this.#takers.push(resolve);
      this.#serve();
    });
  }

  /** Marks work on a key as finished. */
  done(key: ObjectKey): void {
    const text = formatKey(key);
    const started = this.#active.get(text);
    if (started === undefined) return;
    this.#active.delete(text);
    this.#countActive(key.namespace, -1);
    this.#observer?.worked((performance.now() - started) / 1000);
    if (this.#dirty.delete(text)) this.#add(text);
    this.#serve();
  }

  /** Stops the queue: it returns no more keys, and waiting workers get undefined. */
  stop(): void {
    this.#stopped = true;
    for (const { timer } of this.#delayed.values()) clearTimeout(timer);
    this.#delayed.clear();
    this.#ready.clear();
    this.#dirty.clear();
    for (const taker of this.#takers.splice(0)) taker(undefined);
  }

  #add(text: string): void {
    if (this.#stopped) return;
    clearTimeout(this.#delayed.get(text)?.timer);
    this.#delayed.delete(text);
    const { namespace } = parseKey(text);
    const keys = this.#ready.get(namespace) ?? new Map<string, number>();
    if (keys.has(text) || this.#dirty.has(text)) return;
    this.#observer?.added();
    if (this.#active.has(text)) {
      this.#dirty.add(text);
      return;
    }
    this.#ready.set(namespace, keys.set(text, performance.now()));
    this.#serve();
  }

  #serve(): void {
    if (this.#stopped) {
      for (const taker of this.#takers.splice(0)) taker(undefined);
      return;
    }
    while (this.#takers.length > 0) {
      const next = this.#ready
        .entries()
        .find(([namespace]) => (this.#activeIn.get(namespace) ?? 0) < this.#maxPerNamespace);
      if (next === undefined) return;
      this.#dispatch(...next);
    }
  }

  /** Hands a namespace's first key to the worker that has waited longest. */
  #dispatch(namespace: string | undefined, keys: Map<string, number>): void {
    const [[text, since] = []] = keys;
    if (text === undefined || since === undefined)
      throw new RangeError('a namespace without keys has a turn');
    const now = performance.now();
    keys.delete(text);
    this.#ready.delete(namespace);
    if (keys.size > 0) this.#ready.set(namespace, keys);
    this.#active.set(text, now);
    this.#countActive(namespace, 1);
    this.#observer?.taken((now - since) / 1000);
    this.#takers.shift()?.(parseKey(text));
  }

  #countActive(namespace: string | undefined, change: 1 | -1): void {
    if (namespace === undefined) return;
    const count = (this.#activeIn.get(namespace) ?? 0) + change;
    if (count === 0) this.#activeIn.delete(namespace);
    else this.#activeIn.set(namespace, count);
  }
}
