import { performance } from 'node:perf_hooks';
import { silentLogger, type Logger } from '../../../shared/logger.ts';
import type { ApiClient } from '../api/client.ts';
import { listPages, type Selection } from '../api/list.ts';
import { watch } from '../api/watch.ts';
import { backoffDelay, pause, withJitter, type BackoffLimits } from '../../../shared/backoff.ts';
import { isApiError } from '../api/errors.ts';
import type { KubernetesObject } from '../api/object-key.ts';
import type { Resource } from '../api/resource.ts';

/** Receives what a list-watch sees. */
export interface ListWatchSink<T> {
  /** A list begins: no object counts as existing until it is listed again. */
  listStarted(): void;
  listed(object: T): void;
  /** The list is complete: what was not listed does not exist. */
  listEnded(): void;
  changed(object: T): void;
  deleted(object: T): void;
}

export interface ListWatchOptions<T extends KubernetesObject> {
  readonly client: ApiClient;
  readonly resource: Resource<T>;
  readonly selection?: Selection | undefined;
  readonly log?: Logger | undefined;
  /** Seconds after which the API server ends a watch. @default 300 to 600, chosen at random each time */
  readonly watchSeconds?: number | undefined;
  /**
   * Milliseconds of silence after which a watch counts as dead. The API server sends a bookmark each minute.
   * @default 150000
   */
  readonly idleTimeout?: number | undefined;
  /** @default 500 ms to 30 s */
  readonly backoff?: BackoffLimits | undefined;
}

const defaultIdleTimeout = 150_000;
const defaultBackoff = { first: 500, limit: 30_000 };
/** Milliseconds after which a watch that ends does not count as a repeated failure. */
const healthyAfter = 60_000;

/** Lists, then watches; resumes when a watch ends, lists again after errors. Ends only with the signal. */
export async function runListWatch<T extends KubernetesObject>(
  options: ListWatchOptions<T>,
  sink: ListWatchSink<T>,
  signal: AbortSignal,
): Promise<void> {
  const { log = silentLogger, resource, backoff = defaultBackoff } = options;
  let failures = 0;
  let resourceVersion: string | undefined;
  while (!signal.aborted) {
    const started = performance.now();
    try {
      resourceVersion ??= await list(options, sink, signal);
      for await (const version of follow(options, sink, resourceVersion, signal)) {
        resourceVersion = version;
        failures = 0;
      }
    } catch (error) {
      if (signal.aborted) return;
      if (performance.now() - started > healthyAfter) failures = 0;
      failures += 1;
      // A first broken connection is resumed. Any other error, or a second one, needs a new list.
      if (failures > 1 || !isApiError(error, 'NETWORK', 'TIMEOUT')) resourceVersion = undefined;
      const wait = withJitter(backoffDelay(failures, backoff));
      const fields = { resource: resource.plural, failures, wait: Math.round(wait), error };
      if (isApiError(error, 'NOT_FOUND')) {
        // The error itself says only "not found".
        const definition = `${resource.plural}.${resource.group}`;
        log.warn('the API server does not serve a resource; waiting for its definition', {
          definition,
          ...fields,
        });
      } else {
        log.warn('watch failed', fields);
      }
      await pause(wait, signal);
      continue;
    }
    // Watches that keep ending at once must not flood the API server.
    if (performance.now() - started < backoff.first) await pause(backoff.first, signal);
  }
}

async function list<T extends KubernetesObject>(
  { client, resource, selection }: ListWatchOptions<T>,
  sink: ListWatchSink<T>,
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

/** Watches once, and yields the resource versions up to which the sink is complete. */
async function* follow<T extends KubernetesObject>(
  options: ListWatchOptions<T>,
  sink: ListWatchSink<T>,
  resourceVersion: string,
  signal: AbortSignal,
): AsyncGenerator<string> {
  const { client, resource, selection } = options;
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
