import type { Readable } from 'node:stream';

/** One HTTP request below the registry protocol. */
export interface HttpRequest {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly url: URL;
  /** Lower-case names. */
  readonly headers?: Readonly<Record<string, string>>;
  /**
   * Bytes, or a function that opens them afresh (it is called once a try). Needs `contentLength`. A chunk need not be
   * valid any longer when the next is asked for.
   */
  readonly body?: Buffer | (() => AsyncIterable<Buffer>);
  /** Bytes of a streamed body. */
  readonly contentLength?: number;
  /** Token scopes that the request is known to need, such as `repository:vendor/driver:pull`. */
  readonly scopes?: readonly string[];
  /**
   * Whether a failed try may be sent again by the retry layer. Default: true for GET, HEAD, DELETE and
   * PUT with a Buffer; uploads with a stream have their own recovery.
   */
  readonly retriable?: boolean;
  /** Milliseconds without a byte before the connection counts as dead. */
  readonly idleTimeout?: number;
  readonly signal?: AbortSignal | undefined;
}

/** A response whose body has not been read. The body must be consumed or destroyed. */
export interface HttpResponse {
  readonly status: number;
  /** Lower-case names; repeated headers joined as node:http does. */
  readonly headers: Readonly<Record<string, string | undefined>>;
  /** The URL that answered, after redirects: what a relative Location is resolved against. */
  readonly url: URL;
  readonly body: Readable;
  /**
   * What we said who we are, where the registry refused it (401) or allows it too little (403): empty when there was
   * nothing to say, undefined when the registry did not ask. For messages.
   */
  readonly credentials?: readonly string[] | undefined;
}

/** Sends requests. Layers (user agent, log, retry, auth, redirects) wrap one another around the adapter. */
export type Transport = (request: HttpRequest) => Promise<HttpResponse>;
