import { performance } from 'node:perf_hooks';
import { LruMap } from '../../shared/lru.ts';
import { randomUUID } from 'node:crypto';
import { silentLogger, type Logger } from '../../shared/logger.ts';
import type { ApiClient } from './api/client.ts';
import { EventBudget } from './event-budget.ts';
import { microTime } from './leader/lease.ts';
import type { KubernetesObject } from './api/object-key.ts';
import { apiVersionOf, type Resource } from './api/resource.ts';

/** The part of an events.k8s.io/v1 Event that is used. */
export interface KubernetesEvent extends KubernetesObject {
  readonly eventTime: string;
  readonly reportingController: string;
  readonly reportingInstance: string;
  readonly action: string;
  readonly reason: string;
  readonly type: 'Normal' | 'Warning';
  readonly note: string;
  readonly regarding: Readonly<Record<string, string | undefined>>;
  readonly series?: { readonly count: number; readonly lastObservedTime: string };
}

export const events: Resource<KubernetesEvent> = {
  group: 'events.k8s.io',
  version: 'v1',
  plural: 'events',
  kind: 'Event',
  namespaced: true,
};

/** An event about an object. */
export interface EventSpec<T extends KubernetesObject> {
  readonly resource: Resource<T>;
  readonly object: T;
  readonly type: 'Normal' | 'Warning';
  /** Why: a CamelCase word for programs. */
  readonly reason: string;
  /** What was done or tried: a CamelCase word. */
  readonly action: string;
  /** A sentence for people, truncated to 1024 characters. */
  readonly note: string;
}

interface Series {
  readonly event: KubernetesEvent;
  readonly since: number;
  /** How often the event was recorded, and how often according to the API server. */
  count: number;
  written: number;
  writing: boolean;
}

const maxNoteLength = 1024;
/** Milliseconds after which a repetition starts a new event. The API server keeps events for an hour. */
const seriesDuration = 30 * 60_000;
/** The most series kept; the least recently used are evicted first. */
const maxSeries = 2048;

/**
 * Records Events. Repeating one only raises its count, and there is a limit for each object. Never throws, and
 * does not block.
 */
export class EventRecorder {
  readonly #client: ApiClient;
  readonly #controller: string;
  readonly #instance: string;
  readonly #log: Logger;
  readonly #series = new LruMap<Series>(maxSeries);
  readonly #budget = new EventBudget();
  readonly #pending = new Set<Promise<void>>();

  /**
   * @param controller for example `kmm.sigs.x-k8s.io/operator`
   * @param instance for example the pod's name
   */
  constructor(client: ApiClient, controller: string, instance: string, log: Logger = silentLogger) {
    this.#client = client;
    this.#controller = controller;
    this.#instance = instance;
    this.#log = log;
  }

  record<T extends KubernetesObject>(event: EventSpec<T>): void {
    const { object, type, reason, action, note } = event;
    const id = JSON.stringify([object.metadata.uid, type, reason, action, note]);
    const known = this.#series.get(id);
    if (known !== undefined && performance.now() - known.since < seriesDuration) {
      known.count += 1;
      this.#write(id, known);
      return;
    }
    if (!this.#budget.spend(`${object.metadata.uid} ${type}`, performance.now())) {
      this.#log.debug('event left out: the object has too many', {
        name: object.metadata.name,
        reason,
        note,
      });
      return;
    }
    const series = {
      event: this.#event(event),
      since: performance.now(),
      count: 1,
      written: 0,
      writing: false,
    };
    this.#series.set(id, series);
    this.#write(id, series);
  }

  /** Waits until all recorded events are written. */
  async flush(): Promise<void> {
    while (this.#pending.size > 0) await Promise.all(this.#pending);
  }

  /** Writes a series, one request at a time; what is recorded meanwhile goes into the next one. */
  #write(id: string, series: Series): void {
    if (series.writing) return;
    series.writing = true;
    const writing = this.#writeAll(series).then((written) => {
      series.writing = false;
      this.#pending.delete(writing);
      // The event may have expired, or was never created: the next occurrence starts a new series.
      if (!written && this.#series.get(id) === series) this.#series.delete(id);
      return undefined;
    });
    this.#pending.add(writing);
  }

  async #writeAll(series: Series): Promise<boolean> {
    const { event } = series;
    try {
      while (series.written < series.count) {
        const { count } = series;
        if (series.written === 0) {
          await this.#client.create(events, event);
          series.written = 1;
        } else {
          const { namespace, name } = event.metadata;
          const patch = { series: { count, lastObservedTime: microTime() } };
          await this.#client.patch(events, { namespace, name }, patch);
          series.written = count;
        }
      }
      return true;
    } catch (error) {
      // Events are informational; no work depends on them.
      this.#log.warn('event could not be written', { reason: event.reason, error });
      return false;
    }
  }

  #event<T extends KubernetesObject>({ resource, object, ...rest }: EventSpec<T>): KubernetesEvent {
    const { name, namespace, uid, resourceVersion } = object.metadata;
    return {
      // The API server requires events of cluster-scoped objects to be in this namespace.
      metadata: { name: `${name.slice(0, 200)}.${randomUUID()}`, namespace: namespace ?? 'default' },
      eventTime: microTime(),
      reportingController: this.#controller,
      reportingInstance: this.#instance,
      regarding: {
        apiVersion: apiVersionOf(resource),
        kind: resource.kind,
        namespace,
        name,
        uid,
        resourceVersion,
      },
      ...rest,
      note: rest.note.slice(0, maxNoteLength),
    };
  }
}
