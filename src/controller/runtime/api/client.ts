import type { IncomingMessage } from 'node:http';
import * as z from 'zod';
import { parseRetryAfter } from '../../../shared/backoff.ts';
import { ApiError, errorFromStatus } from './errors.ts';
import { keyOf, objectSchema, type KubernetesObject, type ObjectKey } from './object-key.ts';
import { acceptOf, apiVersionOf, pathOf, type Resource } from './resource.ts';
import { readAll, readJson } from './body.ts';
import type { Connection, ConnectionRequest } from './connection.ts';
import { Throttle, type RequestRate } from './throttle.ts';

const defaultTimeout = 30_000;
/** Like client-go; a hub's first rollout takes some 240 requests a second. */
const defaultRate: RequestRate = { perSecond: 300, burst: 600 };
/** Attempts of a request that the API server wants to be retried later. */
const maxAttempts = 10;
/** The longest pause that an API server may request, in milliseconds. */
const maxPause = 300_000;

/** Values of a URL's query; undefined ones are omitted. */
export type Query = Readonly<Record<string, string | number | boolean | undefined>>;

/** Options of every call. */
export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds for each attempt, counted from when it may be sent. @default 30000 */
  readonly timeout?: number | undefined;
  /** Bypasses the rate limit and is never retried: others rely on when it is sent. @default false */
  readonly urgent?: boolean | undefined;
}

/** Options of writes. */
export interface WriteOptions extends CallOptions {
  /** For example `status`. */
  readonly subresource?: string | undefined;
  /** The owner of the fields. @default the client's */
  readonly fieldManager?: string | undefined;
  /** How the API server treats unknown and duplicate fields. @default Strict: it refuses them */
  readonly fieldValidation?: 'Strict' | 'Warn' | 'Ignore' | undefined;
  readonly dryRun?: boolean | undefined;
}

/** Options of server-side apply. */
export interface ApplyOptions extends WriteOptions {
  /** Whether to take over fields that other managers own. @default false: CONFLICT */
  readonly force?: boolean | undefined;
}

/** Options of deletions. */
export interface DeleteOptions extends CallOptions {
  /** Deletes only the object with this UID. @throws ApiError CONFLICT otherwise */
  readonly uid?: string | undefined;
  readonly resourceVersion?: string | undefined;
  /** @default Background */
  readonly propagationPolicy?: 'Background' | 'Foreground' | 'Orphan' | undefined;
}

/** A raw request. */
export interface RawRequest extends CallOptions {
  readonly method: string;
  readonly path: string;
  readonly query?: Query | undefined;
  readonly body?: unknown;
  readonly contentType?: string | undefined;
  /** @default application/json */
  readonly accept?: string | undefined;
}

/** Called for each response, for metrics. */
export type RequestObserver = (request: { method: string; host: string; code: string }) => void;

export interface ApiClientOptions {
  readonly connection: Connection;
  /** The owner of written fields (server-side apply). */
  readonly fieldManager: string;
  readonly userAgent: string;
  readonly onResponse?: RequestObserver | undefined;
  /** The request rate limit. @default 300 a second, bursts of 600 */
  readonly rate?: RequestRate | undefined;
}

/** Reads and writes objects. Every method throws ApiError. If the API server requests a pause, all wait. */
export class ApiClient {
  readonly #connection: Connection;
  readonly #fieldManager: string;
  readonly #userAgent: string;
  readonly #onResponse: RequestObserver;
  readonly #throttle: Throttle;

  constructor(options: ApiClientOptions) {
    const { connection, fieldManager, userAgent, onResponse = () => {}, rate = defaultRate } = options;
    this.#throttle = new Throttle(rate);
    this.#connection = connection;
    this.#fieldManager = fieldManager;
    this.#userAgent = userAgent;
    this.#onResponse = onResponse;
  }

  /** Returns one object. @throws ApiError NOT_FOUND and others */
  async get<T extends KubernetesObject>(
    resource: Resource<T>,
    key: ObjectKey,
    options: CallOptions = {},
  ): Promise<T> {
    return this.#object(resource, { method: 'GET', path: pathOf(resource, key), ...options });
  }

  /** Creates an object. @throws ApiError ALREADY_EXISTS, INVALID and others */
  async create<T extends KubernetesObject>(
    resource: Resource<T>,
    object: T,
    options: WriteOptions = {},
  ): Promise<T> {
    const { namespace } = object.metadata;
    return this.#object(resource, {
      method: 'POST',
      path: pathOf(resource, { namespace }),
      query: this.#writeQuery(options),
      body: withType(resource, object),
      ...options,
    });
  }

  /** Replaces an object; with a resourceVersion, only if unchanged. @throws ApiError CONFLICT and others */
  async replace<T extends KubernetesObject>(
    resource: Resource<T>,
    object: T,
    options: WriteOptions = {},
  ): Promise<T> {
    return this.#object(resource, {
      method: 'PUT',
      path: pathOf(resource, { ...keyOf(object), subresource: options.subresource }),
      query: this.#writeQuery(options),
      body: withType(resource, object),
      ...options,
    });
  }

  /**
   * Applies an object (server-side apply): we own the given fields; others that we owned are removed.
   * @throws ApiError CONFLICT and others
   */
  async apply<T extends KubernetesObject>(
    resource: Resource<T>,
    object: T,
    options: ApplyOptions = {},
  ): Promise<T> {
    return this.#object(resource, {
      method: 'PATCH',
      path: pathOf(resource, { ...keyOf(object), subresource: options.subresource }),
      query: { ...this.#writeQuery(options), force: options.force ?? false },
      body: withType(resource, object),
      contentType: 'application/apply-patch+yaml',
      ...options,
    });
  }

  /** Patches an object by a JSON merge patch (RFC 7396). @throws ApiError NOT_FOUND, CONFLICT and others */
  async patch<T extends KubernetesObject>(
    resource: Resource<T>,
    key: ObjectKey,
    patch: object,
    options: WriteOptions = {},
  ): Promise<T> {
    return this.#object(resource, {
      method: 'PATCH',
      path: pathOf(resource, { ...key, subresource: options.subresource }),
      query: this.#writeQuery(options),
      body: patch,
      contentType: 'application/merge-patch+json',
      ...options,
    });
  }

  /** Deletes an object. @throws ApiError NOT_FOUND, CONFLICT and others */
  async delete(resource: Resource, key: ObjectKey, options: DeleteOptions = {}): Promise<void> {
    const { uid, resourceVersion, propagationPolicy = 'Background' } = options;
    await this.request({
      method: 'DELETE',
      path: pathOf(resource, key),
      body: {
        apiVersion: 'v1',
        kind: 'DeleteOptions',
        propagationPolicy,
        preconditions: { uid, resourceVersion },
      },
      ...options,
    });
  }

  /** Sends a request and returns its JSON. */
  async request(request: RawRequest): Promise<unknown> {
    const response = await this.open(request);
    return readJson(response, request.path, request.timeout ?? defaultTimeout);
  }

  /** Sends a request and returns its text, such as a log. */
  async requestText(request: RawRequest): Promise<string> {
    const response = await this.open(request);
    return (await readAll(response, request.path, request.timeout ?? defaultTimeout)).toString();
  }

  /** Sends a request and returns its response, with the body still to be read, if it succeeded. */
  async open(request: RawRequest): Promise<IncomingMessage> {
    const { method, path, signal, urgent = false } = request;
    for (let attempt = 1; ; attempt += 1) {
      if (!urgent) await this.#throttle.take(signal);
      const response = await this.#send(this.#connectionRequest(request));
      const status = response.statusCode ?? 0;
      this.#onResponse({ method, host: this.#connection.host, code: String(status) });
      if (status >= 200 && status < 300) return response;
      const body = await readJson(response, path, request.timeout ?? defaultTimeout).catch(() => undefined);
      const pause = parseRetryAfter(response.headers['retry-after'], Date.now());
      const error = errorFromStatus(method, path, body, status);
      // Too many requests: this one was not processed, and others would not be either.
      if (status !== 429 || pause === null || urgent) throw error;
      this.#throttle.pause(Math.min(pause, maxPause));
      if (attempt === maxAttempts) throw error;
    }
  }

  #connectionRequest(request: RawRequest): ConnectionRequest {
    const { method, path, query = {}, body, contentType = 'application/json', signal } = request;
    return {
      method,
      path: `${path}${formatQuery(query)}`,
      headers: {
        accept: request.accept ?? 'application/json',
        'user-agent': this.#userAgent,
        ...(body === undefined ? {} : { 'content-type': contentType }),
      },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal,
      timeout: request.timeout ?? defaultTimeout,
    };
  }

  async #send(request: ConnectionRequest): Promise<IncomingMessage> {
    try {
      return await this.#connection.send(request);
    } catch (error) {
      this.#onResponse({ method: request.method, host: this.#connection.host, code: '<error>' });
      throw error;
    }
  }

  async #object<T extends KubernetesObject>(resource: Resource<T>, request: RawRequest): Promise<T> {
    const accept = acceptOf(resource, 'object');
    return asObject(resource, await this.request({ accept, ...request }), request.path);
  }

  #writeQuery({ fieldManager, fieldValidation = 'Strict', dryRun = false }: WriteOptions): Query {
    return {
      fieldManager: fieldManager ?? this.#fieldManager,
      fieldValidation,
      dryRun: dryRun ? 'All' : undefined,
    };
  }
}

/**
 * Returns the object in a response. Its fields are trusted to follow the API server's own schema.
 * @throws ApiError UNEXPECTED_RESPONSE
 */
export function asObject<T extends KubernetesObject>(
  _resource: Resource<T>,
  value: unknown,
  path: string,
): T {
  const { error } = z.safeParse(objectSchema, value);
  if (error === undefined) return value as T;
  throw new ApiError({
    code: 'UNEXPECTED_RESPONSE',
    message: `The response to ${path} is not an object with a name`,
    facts: { path },
  });
}

function withType(resource: Resource, object: KubernetesObject): object {
  return { ...object, apiVersion: apiVersionOf(resource), kind: resource.kind };
}

function formatQuery(query: Query): string {
  const set = Object.entries(query).filter(([, value]) => value !== undefined);
  if (set.length === 0) return '';
  return `?${new URLSearchParams(set.map(([name, value]) => [name, String(value)])).toString()}`;
}
