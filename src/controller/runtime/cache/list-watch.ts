import { performance } from 'node:perf_hooks';
import type { Logger } from '../../../shared/logger.ts';
import type { ApiClient } from '../api/client.ts';
import { listPages, type Selection } from '../api/list.ts';
import { watch } from '../api/watch.ts';
import { backoffDelay, pause, withJitter, type BackoffLimits } from '../../../shared/backoff.ts';
import { isApiError } from '../api/errors.ts';
import type { KubernetesObject } from '../api/object-key.ts';
import type { Resource } from '../api/resource.ts';

/** Who is told of what a list-watch sees. */
export interface ListWatchSink<T> {
  /** A list begins; nothing is known to be there until it is told again. */
  listStarted(): void;
  listed(object: T): void;
  /** The list is complete: what was not told is not there. */
  listEnded(): void;
  changed(object: T): void;
  deleted(object: T): void;
}

export interface ListWatchOptions<T extends KubernetesObject> {
  readonly client: ApiClient;
  readonly resource: Resource<T>;
  readonly selection: Selection;
  readonly sink: ListWatchSink<T>;
  readonly log: Logger;
  /** Seconds after which the API server ends a watch. @default 300 to 600, another each time */
  readonly watchSeconds?: number | undefined;
  /** Milliseconds of silence after which a watch counts as dead. The API server sends a bookmark each minute. @default 150000 */
  readonly idleTimeout?: number | undefined;
  /** @default 500 ms to 30 s */
  readonly backoff?: BackoffLimits | undefined;
}

const defaultIdleTimeout = 150_000;
const defaultBackoff = { first: 500, limit: 30_000 };
/** A watch that lived so long was no failure. Milliseconds. */
const healthyAfter = 60_000;

/** Lists, then watches; goes on where a watch ended, and lists again after any error. Ends with the signal only. */
export async function runListWatch<T extends KubernetesObject>(
  options: ListWatchOptions<T>,
  signal: AbortSignal,
): Promise<void> {
  const { log, resource, backoff = defaultBackoff } = options;
  let failures = 0;
  let resourceVersion: string | undefined;
  while (!signal.aborted) {
    const started = performance.now();
    try {
      resourceVersion ??= await list(options, signal);
      for await (const version of follow(options, resourceVersion, signal)) {
        resourceVersion = version;
        failures = 0;
      }
    } catch (error) {
      if (signal.aborted) return;
      if (performance.now() - started > healthyAfter) failures = 0;
      failures += 1;
      // Once, a broken connection is taken up where it broke. Any other trouble, or more of it: a list.
      if (failures > 1 || !isApiError(error, 'NETWORK', 'TIMEOUT')) resourceVersion = undefined;
      const wait = withJitter(backoffDelay(failures, backoff));
      const fields = { resource: resource.plural, failures, wait: Math.round(wait), error };
      if (isApiError(error, 'NOT_FOUND')) {
        // The error says no more than "not found".
        const definition = `${resource.plural}.${resource.group}`;
        log.warn('the API server does not know a resource; its definition is awaited', {
          definition,
          ...fields,
        });
      } else {
        log.warn('watch failed', fields);
      }
      await pause(wait, signal);
      continue;
    }
    // A watch that ends at once, again and again, must not become a storm.
    if (performance.now() - started < backoff.first) await pause(backoff.first, signal);
  }
}

async function list<T extends KubernetesObject>(
  { client, resource, selection, sink }: ListWatchOptions<T>,
  signal: AbortSignal,
): Promise<string> {
  let resourceVersion = '';
  sink.listStarted();
  for await (const page of listPages(client, resource, { ...selection, signal })) {
    for (const object of page.items) sink.listed(object);
    resourceVersion = page.resourceVersion;
  }
  sink.listEnded();
  return resourceVersion;
}

/** Watches once, and gives the resource version up to which the sink knows everything. */
async function* follow<T extends KubernetesObject>(
  options: ListWatchOptions<T>,
  resourceVersion: string,
  signal: AbortSignal,
): AsyncGenerator<string> {
  const { client, resource, selection, sink } = options;
  const events = watch(client, resource, {
    ...selection,
    resourceVersion,
    timeoutSeconds: options.watchSeconds ?? 300 + Math.floor(Math.random() * 300),
    idleTimeout: options.idleTimeout ?? defaultIdleTimeout,
    signal,
  });
  for await (const event of events) {
    if (event.type === 'BOOKMARK') {
      yield event.resourceVersion;
      continue;
    }
    if (event.type === 'DELETED') sink.deleted(event.object);
    else sink.changed(event.object);
    const version = event.object.metadata.resourceVersion;
    if (version !== undefined) yield version;
  }
}
