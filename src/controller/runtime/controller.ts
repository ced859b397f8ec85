import { performance } from 'node:perf_hooks';
import { silentLogger, type Logger } from '../../shared/logger.ts';
import type { CacheEvent, Informer } from './cache/informer.ts';
import { TerminalError } from './api/errors.ts';
import type { ControllerMetrics } from './metrics.ts';
import { formatKey, type KubernetesObject, type ObjectKey } from './api/object-key.ts';
import { WorkQueue, type WorkQueueOptions } from './work-queue.ts';

/** What should happen after a reconcile. */
export interface ReconcileResult {
  /** Milliseconds until the key is reconciled again without any change. */
  readonly requeueAfter?: number | undefined;
}

/**
 * Reconciles one object. It gets no event: it reads the current state, and may be called at any time. After
 * an error it is called again later; after a TerminalError, only when something has changed.
 */
export type Reconcile = (
  key: ObjectKey,
  context: { readonly signal: AbortSignal; readonly log: Logger },
) => Promise<ReconcileResult>;

export interface ControllerOptions {
  readonly name: string;
  readonly reconcile: Reconcile;
  /** Keys reconciled concurrently. @default 1 */
  readonly maxConcurrent?: number | undefined;
  /** The same per namespace, so that none holds up the others. @default maxConcurrent */
  readonly maxPerNamespace?: number | undefined;
  readonly backoff?: WorkQueueOptions['backoff'];
  readonly log?: Logger | undefined;
  readonly metrics?: ControllerMetrics | undefined;
}

export interface RunOptions {
  /** Stops gracefully: work in progress is finished, and nothing new is started. */
  readonly signal: AbortSignal;
  /** Stops at once, for example when leadership is lost: aborts the signal of reconcilers. */
  readonly abort?: AbortSignal | undefined;
  /** Milliseconds after `signal` until work in progress is aborted. @default 20000 */
  readonly gracePeriod?: number | undefined;
}

const defaultGracePeriod = 20_000;

/** Calls a reconciler for each key that needs it. */
export class Controller {
  readonly #options: ControllerOptions;
  readonly #queue: WorkQueue;
  readonly #log: Logger;
  readonly #sources: ((signal: AbortSignal) => Promise<void>)[] = [];

  constructor(options: ControllerOptions) {
    this.#options = options;
    this.#log = options.log ?? silentLogger;
    const { backoff, metrics, maxPerNamespace } = options;
    this.#queue = new WorkQueue({ backoff, maxPerNamespace, observer: metrics?.queue });
    options.metrics?.follow(this.#queue);
  }

  /** Queues a key to be reconciled. @param delay milliseconds until then; the earliest of several times counts */
  enqueue(key: ObjectKey, delay = 0): void {
    this.#queue.addAfter(key, delay);
  }

  /**
   * Reconciles the keys that the events of a cache map to, by default the object itself. Work begins when the
   * cache has synced.
   * @param delay milliseconds from an event to the reconcile; events in between are merged
   */
  watch<T extends KubernetesObject, P>(
    informer: Informer<T, P>,
    map: (event: CacheEvent<P>) => readonly ObjectKey[] = ({ key }) => [key],
    delay = 0,
  ): void {
    informer.onEvent((event) => {
      for (const key of map(event)) this.#queue.addAfter(key, delay);
    });
    this.#sources.push((signal) => informer.waitForSync(signal));
  }

  /** Runs until it is stopped and work in progress is finished. */
  async run({ signal, abort, gracePeriod = defaultGracePeriod }: RunOptions): Promise<void> {
    const expired = new AbortController();
    const work = AbortSignal.any(abort === undefined ? [expired.signal] : [expired.signal, abort]);
    const stop = AbortSignal.any(abort === undefined ? [signal] : [signal, abort]);
    let grace: NodeJS.Timeout | undefined;
    const onStop = (): void => {
      this.#queue.stop();
      grace = setTimeout(() => expired.abort(), gracePeriod);
    };
    if (stop.aborted) onStop();
    else stop.addEventListener('abort', onStop, { once: true });
    try {
      await Promise.all(this.#sources.map((synced) => synced(stop)));
      const { maxConcurrent = 1 } = this.#options;
      await Promise.all(Array.from({ length: maxConcurrent }, () => this.#work(work)));
    } catch (error) {
      if (!stop.aborted) throw error;
    } finally {
      clearTimeout(grace);
      stop.removeEventListener('abort', onStop);
    }
  }

  async #work(signal: AbortSignal): Promise<void> {
    for (;;) {
      const key = await this.#queue.take();
      if (key === undefined) return;
      try {
        await this.#reconcile(key, signal);
      } finally {
        this.#queue.done(key);
      }
    }
  }

  async #reconcile(key: ObjectKey, signal: AbortSignal): Promise<void> {
    const { name, reconcile, metrics } = this.#options;
    const fields = { controller: name, object: formatKey(key) };
    const started = performance.now();
    metrics?.started();
    try {
      const { requeueAfter } = await reconcile(key, { signal, log: this.#log });
      this.#queue.forget(key);
      if (requeueAfter !== undefined) this.#queue.addAfter(key, requeueAfter);
      metrics?.ended(requeueAfter === undefined ? 'success' : 'requeue_after', seconds(started));
    } catch (error) {
      const isTerminal = error instanceof TerminalError;
      metrics?.ended(isTerminal ? 'terminal' : 'error', seconds(started));
      // Aborted work has not failed.
      if (signal.aborted) return;
      if (isTerminal) this.#queue.forget(key);
      else this.#queue.retry(key);
      this.#log.error('reconcile failed', { ...fields, terminal: isTerminal, error });
    }
  }
}

function seconds(since: number): number {
  return (performance.now() - since) / 1000;
}

/** Returns the shortest of some delays in milliseconds, or undefined if there is none. */
export function soonest(pauses: readonly (number | undefined)[]): number | undefined {
  const defined = pauses.filter((pause) => pause !== undefined);
  return defined.length === 0 ? undefined : Math.min(...defined);
}
