import type { Readable } from 'node:stream';
import type { LentChunks } from '../../shared/chunks.ts';

/** An HTTP request, below the level of the registry protocol. */
export interface HttpRequest {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly url: URL;
  /** Lower-case names. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Bytes, or a function that reopens them for each attempt. */
  readonly body?: Buffer | (() => LentChunks);
  /** Size of a streamed body in bytes. Default: not known, so that it is sent in chunks. */
  readonly contentLength?: number;
  /** Token scopes that the request is known to need, such as `repository:vendor/driver:pull`. */
  readonly scopes?: readonly string[];
  /**
   * Whether the retry layer may send a failed request again. Default: true for GET, HEAD, DELETE and PUT with
   * a Buffer; uploads with a stream have their own recovery.
   */
  readonly retriable?: boolean;
  /** Milliseconds without a byte before the connection is considered dead. */
  readonly idleTimeout?: number;
  readonly signal?: AbortSignal | undefined;
}

/** A response whose body has not been read. The body must be consumed or destroyed. */
export interface HttpResponse {
  readonly status: number;
  /** Lower-case names; repeated headers joined as node:http does. */
  readonly headers: Readonly<Record<string, string | undefined>>;
  /** The URL of the response, after redirects; a relative Location is resolved against it. */
  readonly url: URL;
  readonly body: Readable;
  /**
   * The credentials that the registry refused (401) or that lack permission (403), for messages: empty if
   * there were none to send, undefined if the registry did not ask for any.
   */
  readonly credentials?: readonly string[] | undefined;
}

/** Sends requests. Layers (user agent, log, retry, auth, redirects) wrap the adapter and one another. */
export type Transport = (request: HttpRequest) => Promise<HttpResponse>;
