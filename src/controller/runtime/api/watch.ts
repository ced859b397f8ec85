import * as z from 'zod';
import { ApiError, errorFromStatus } from './errors.ts';
import type { KubernetesObject } from './object-key.ts';
import { acceptOf, pathOf, type Resource } from './resource.ts';
import { readJsonLines } from './body.ts';
import { asObject, type ApiClient } from './client.ts';
import type { Selection } from './list.ts';

const eventSchema = z.object({
  type: z.enum(['ADDED', 'MODIFIED', 'DELETED', 'BOOKMARK', 'ERROR']),
  object: z.unknown(),
});

const bookmarkSchema = z.looseObject({ metadata: z.looseObject({ resourceVersion: z.string() }) });

/** An event of a watch. A bookmark has only a resource version: all events up to it have been sent. */
export type WatchEvent<T> =
  | { readonly type: 'ADDED' | 'MODIFIED' | 'DELETED'; readonly object: T }
  | { readonly type: 'BOOKMARK'; readonly resourceVersion: string };

/** What to watch, and for how long. */
export interface WatchOptions extends Selection {
  /** The version after which events are sent. */
  readonly resourceVersion: string;
  /** Seconds after which the API server ends the watch. */
  readonly timeoutSeconds: number;
  /** Milliseconds without a byte, not even of a bookmark, after which the watch counts as dead. */
  readonly idleTimeout: number;
  readonly signal: AbortSignal;
}

/**
 * Watches objects until the API server ends the watch.
 * @throws ApiError GONE if the resource version is too old, TIMEOUT if the watch goes silent, and others
 */
export async function* watch<T extends KubernetesObject>(
  client: ApiClient,
  resource: Resource<T>,
  options: WatchOptions,
): AsyncGenerator<WatchEvent<T>> {
  const path = pathOf(resource, { namespace: options.namespace });
  const response = await client.open({
    method: 'GET',
    path,
    accept: acceptOf(resource, 'object'),
    query: {
      watch: true,
      allowWatchBookmarks: true,
      resourceVersion: options.resourceVersion,
      timeoutSeconds: options.timeoutSeconds,
      labelSelector: options.labelSelector,
      fieldSelector: options.fieldSelector,
    },
    signal: options.signal,
  });
  const silent = new ApiError({
    code: 'TIMEOUT',
    message: `The watch of ${path} timed out without data`,
    facts: { path },
  });
  const watchdog = setTimeout(() => response.destroy(silent), options.idleTimeout);
  try {
    for await (const line of readJsonLines(response, path, () => watchdog.refresh())) {
      yield parseEvent(resource, line, path);
    }
  } finally {
    clearTimeout(watchdog);
    response.destroy();
  }
}

function parseEvent<T extends KubernetesObject>(
  resource: Resource<T>,
  line: unknown,
  path: string,
): WatchEvent<T> {
  const parsed = eventSchema.safeParse(line);
  if (!parsed.success) throw unexpected(path);
  const { type, object } = parsed.data;
  switch (type) {
    case 'ERROR': {
      throw errorFromStatus('WATCH', path, object);
    }
    case 'BOOKMARK': {
      const bookmark = bookmarkSchema.safeParse(object);
      if (!bookmark.success) throw unexpected(path);
      return { type, resourceVersion: bookmark.data.metadata.resourceVersion };
    }
    case 'ADDED':
    case 'MODIFIED':
    case 'DELETED': {
      return { type, object: asObject(resource, object, path) };
    }
  }
}

function unexpected(path: string): ApiError {
  return new ApiError({
    code: 'UNEXPECTED_RESPONSE',
    message: `The watch of ${path} returned something that is not an event`,
    facts: { path },
  });
}
