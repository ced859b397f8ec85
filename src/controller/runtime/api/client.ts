import type { IncomingMessage } from 'node:http';
import * as z from 'zod';
import { parseRetryAfter } from '../../../shared/backoff.ts';
import { ApiError, errorFromStatus } from './errors.ts';
import { objectSchema, type KubernetesObject, type ObjectKey } from './object-key.ts';
import { apiVersionOf, pathOf, type Resource } from './resource.ts';
import { readAll, readJson } from './body.ts';
import type { Connection, ConnectionRequest } from './connection.ts';
import { Throttle, type RequestRate } from './throttle.ts';

const defaultTimeout = 30_000;
/** As client-go does it; a hub's first rollout takes some 240 requests a second. */
const defaultRate: RequestRate = { perSecond: 300, burst: 600 };
/** Tries of a request that the API server asks to send later. */
const maxTries = 10;
/** The longest pause that an API server may ask for, in milliseconds. */
const maxPause = 300_000;

/** Values of a URL's query; those undefined are left out. */
export type Query = Readonly<Record<string, string | number | boolean | undefined>>;

/** What every call may be given. */
export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds for each try, counted from when it may be sent. @default 30000 */
  readonly timeout?: number | undefined;
  /** Sent at once whatever the client has sent, and never again by itself: others depend on when it comes. @default false */
  readonly urgent?: boolean | undefined;
}

/** How an object is written. */
export interface WriteOptions extends CallOptions {
  /** For example `status`. */
  readonly subresource?: string | undefined;
  /** Whose fields these are. @default the client's */
  readonly fieldManager?: string | undefined;
  /** Asks the API server to refuse unknown and doubled fields. @default Strict */
  readonly fieldValidation?: 'Strict' | 'Warn' | 'Ignore' | undefined;
  readonly dryRun?: boolean | undefined;
}

/** How an object is applied. */
export interface ApplyOptions extends WriteOptions {
  /** Takes fields over that other managers own. @default false: CONFLICT */
  readonly force?: boolean | undefined;
}

/** How an object is deleted. */
export interface DeleteOptions extends CallOptions {
  /** Deletes this very object only. @throws ApiError CONFLICT otherwise */
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

/** What is reported of each response, for metrics. */
export type RequestObserver = (request: { method: string; host: string; code: string }) => void;

export interface ApiClientOptions {
  readonly connection: Connection;
  /** Whose fields written ones are (server-side apply). */
  readonly fieldManager: string;
  readonly userAgent: string;
  readonly onAnswer?: RequestObserver | undefined;
  /** How many requests are sent at most. @default 300 a second, 600 at once */
  readonly rate?: RequestRate | undefined;
}

/** Reads and writes objects. Every method throws ApiError. When the API server asks for a pause, all requests wait. */
export class ApiClient {
  readonly #connection: Connection;
  readonly #fieldManager: string;
  readonly #userAgent: string;
  readonly #onAnswer: RequestObserver;
  readonly #throttle: Throttle;

  constructor(options: ApiClientOptions) {
    const { connection, fieldManager, userAgent, onAnswer = () => {}, rate = defaultRate } = options;
    this.#throttle = new Throttle(rate);
    this.#connection = connection;
    this.#fieldManager = fieldManager;
    this.#userAgent = userAgent;
    this.#onAnswer = onAnswer;
  }

  /** Returns one object. @throws ApiError NOT_FOUND and others */
  async get<T extends KubernetesObject>(
    resource: Resource<T>,
    key: ObjectKey,
    options: CallOptions = {},
  ): Promise<T> {
    return this.#object(resource, { method: 'GET', path: pathOf(resource, key), ...options });
  }

  /** Makes an object. @throws ApiError ALREADY_EXISTS, INVALID and others */
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

  /** Replaces an object; with its resourceVersion only if it has not changed. @throws ApiError CONFLICT and others */
  async replace<T extends KubernetesObject>(
    resource: Resource<T>,
    object: T,
    options: WriteOptions = {},
  ): Promise<T> {
    return this.#object(resource, {
      method: 'PUT',
      path: pathOf(resource, { ...keyed(object), subresource: options.subresource }),
      query: this.#writeQuery(options),
      body: withType(resource, object),
      ...options,
    });
  }

  /** Server-side apply: the fields given become ours and those left out, that were ours, go. @throws ApiError CONFLICT and others */
  async apply<T extends KubernetesObject>(
    resource: Resource<T>,
    object: T,
    options: ApplyOptions = {},
  ): Promise<T> {
    return this.#object(resource, {
      method: 'PATCH',
      path: pathOf(resource, { ...keyed(object), subresource: options.subresource }),
      query: { ...this.#writeQuery(options), force: options.force ?? false },
      body: withType(resource, object),
      contentType: 'application/apply-patch+yaml',
      ...options,
    });
  }

  /** JSON merge patch (RFC 7396). @throws ApiError NOT_FOUND, CONFLICT and others */
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

  /** Sends a request and gives its JSON. */
  async request(request: RawRequest): Promise<unknown> {
    const response = await this.open(request);
    return readJson(response, request.path, request.timeout ?? defaultTimeout);
  }

  /** Sends a request and gives its text, such as a log. */
  async requestText(request: RawRequest): Promise<string> {
    const response = await this.open(request);
    return (await readAll(response, request.path, request.timeout ?? defaultTimeout)).toString();
  }

  /** Sends a request and returns its response, whose body is still to be read, if it succeeded. */
  async open(request: RawRequest): Promise<IncomingMessage> {
    const { method, path, signal, urgent = false } = request;
    for (let tries = 1; ; tries += 1) {
      if (!urgent) await this.#throttle.take(signal);
      const response = await this.#send(this.#connectionRequest(request));
      const status = response.statusCode ?? 0;
      this.#onAnswer({ method, host: this.#connection.host, code: String(status) });
      if (status >= 200 && status < 300) return response;
      const said = await readJson(response, path, request.timeout ?? defaultTimeout).catch(() => undefined);
      const pause = parseRetryAfter(response.headers['retry-after'], Date.now());
      const error = errorFromStatus({ method, path, status, body: said });
      // Too many requests: this one was not looked at, and others would fare no better.
      if (status !== 429 || pause === null || urgent) throw error;
      this.#throttle.pause(Math.min(pause, maxPause));
      if (tries === maxTries) throw error;
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
      this.#onAnswer({ method: request.method, host: this.#connection.host, code: '<error>' });
      throw error;
    }
  }

  async #object<T extends KubernetesObject>(resource: Resource<T>, request: RawRequest): Promise<T> {
    return asObject(resource, await this.request(request), request.path);
  }

  #writeQuery({ fieldManager, fieldValidation = 'Strict', dryRun = false }: WriteOptions): Query {
    return {
      fieldManager: fieldManager ?? this.#fieldManager,
      fieldValidation,
      dryRun: dryRun ? 'All' : undefined,
    };
  }
}

/** Returns the object in a response. Its fields are what the API server's own schema says. @throws ApiError UNEXPECTED_RESPONSE */
export function asObject<T extends KubernetesObject>(
  _resource: Resource<T>,
  value: unknown,
  path: string,
): T {
  const { error } = z.safeParse(objectSchema, value);
  if (error === undefined) return value as T;
  throw new ApiError({
    code: 'UNEXPECTED_RESPONSE',
    message: `The answer to ${path} is not an object with a name`,
    facts: { path },
  });
}

function keyed({ metadata }: KubernetesObject): ObjectKey {
  return { namespace: metadata.namespace, name: metadata.name };
}

function withType(resource: Resource, object: KubernetesObject): object {
  return { ...object, apiVersion: apiVersionOf(resource), kind: resource.kind };
}

function formatQuery(query: Query): string {
  const set = Object.entries(query).filter(([, value]) => value !== undefined);
  if (set.length === 0) return '';
  return `?${new URLSearchParams(set.map(([name, value]) => [name, String(value)])).toString()}`;
}
