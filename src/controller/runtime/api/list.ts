import * as z from 'zod';
import { ApiError, isApiError } from './errors.ts';
import type { KubernetesObject, ObjectKey } from './object-key.ts';
import { acceptOf, pathOf, type Resource } from './resource.ts';
import { asObject, type ApiClient, type CallOptions } from './client.ts';

/** Objects per response, unless it becomes too large. */
const defaultPageSize = 500;

const listSchema = z.looseObject({
  metadata: z.looseObject({ resourceVersion: z.string().optional(), continue: z.string().optional() }),
  items: z.array(z.unknown()).nullish(),
});

/** Selects objects. */
export interface Selection {
  /** Undefined: all namespaces. */
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
}

export interface ListOptions extends Selection, CallOptions {
  /** @default 500 */
  readonly pageSize?: number | undefined;
}

/** Some of the objects, and the resource version from which a watch continues. */
export interface Page<T> {
  readonly items: readonly T[];
  /** That of the whole list, the same on every page. */
  readonly resourceVersion: string;
}

/**
 * Lists objects page by page, with fewer per page if they are large.
 * @throws ApiError GONE if the snapshot of the pages has expired, and others
 */
export async function* listPages<T extends KubernetesObject>(
  client: ApiClient,
  resource: Resource<T>,
  options: ListOptions = {},
): AsyncGenerator<Page<T>> {
  const path = pathOf(resource, { namespace: options.namespace });
  const accept = acceptOf(resource, 'list');
  let next: string | undefined;
  let pageSize = options.pageSize ?? defaultPageSize;
  for (;;) {
    const { signal, timeout, labelSelector, fieldSelector } = options;
    const query = { limit: pageSize, continue: next, labelSelector, fieldSelector };
    let response: unknown;
    try {
      response = await client.request({ method: 'GET', path, query, accept, signal, timeout });
    } catch (error) {
      if (pageSize === 1 || !isApiError(error, 'TOO_LARGE')) throw error;
      pageSize = Math.floor(pageSize / 2);
      continue;
    }
    const parsed = listSchema.safeParse(response);
    if (!parsed.success) {
      throw new ApiError({
        code: 'UNEXPECTED_RESPONSE',
        message: `The response to ${path} is not a list`,
        facts: { path },
      });
    }
    const { metadata, items } = parsed.data;
    yield {
      items: (items ?? []).map((item) => asObject(resource, item, path)),
      resourceVersion: metadata.resourceVersion ?? '',
    };
    next = metadata.continue === '' ? undefined : metadata.continue;
    if (next === undefined) return;
  }
}

/** Lists all objects at once: for a few objects, since a cache reads pages. */
export async function listAll<T extends KubernetesObject>(
  client: ApiClient,
  resource: Resource<T>,
  options: ListOptions = {},
): Promise<T[]> {
  const all: T[] = [];
  for await (const { items } of listPages(client, resource, options)) all.push(...items);
  return all;
}

/**
 * Reads one object as a list of at most one. An API server (from 1.31 on) answers from its memory what it has made sure
 * to be up to date, while a `get` makes it read and decode the object from etcd: for a long status, that costs
 * ten times as much.
 * @returns undefined if it does not exist
 */
export async function findByName<T extends KubernetesObject>(
  client: ApiClient,
  resource: Resource<T>,
  { namespace, name }: ObjectKey,
  options: CallOptions = {},
): Promise<T | undefined> {
  const selection = { namespace, fieldSelector: `metadata.name=${name}` };
  const [found] = await listAll(client, resource, { ...options, ...selection });
  return found;
}
