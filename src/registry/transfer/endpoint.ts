import { mayRedirectTo, withTlsOf } from '../http/address.ts';
import { discardBody, readAtMost } from '../http/response-body.ts';
import { type ResponseContext, checkStatus } from '../http/response-error.ts';
import type { HttpRequest, HttpResponse, Transport } from '../http/transport.ts';
import { type Digest, digestAlgorithm, isDigest } from '../model/digest.ts';
import { RegistryError } from '../model/errors.ts';
import type { RetryListener } from './retry.ts';

/** The connection to a registry, as created by `createRegistryTransport`. */
export interface RegistryConnection {
  readonly transport: Transport;
  /** Returns the scheme, host and port of the registry itself. */
  origin(): string;
  /** Returns the URL of a path below `/v2/`. */
  url(path: string): URL;
}

/** A repository of a registry, as a target of requests. */
export interface Endpoint {
  readonly connection: RegistryConnection;
  /** `vendor/driver` */
  readonly repository: string;
  /** For messages: `registry.example:5000/vendor/driver`. */
  readonly name: string;
  /** Milliseconds before the first retry of a transfer. */
  readonly retryDelay: number;
  /** Called when a transfer is retried. */
  readonly onRetry: RetryListener;
  /** Called with the numbers of bytes transferred in the bodies of manifests and blobs. */
  readonly onBytesDown: (count: number) => void;
  readonly onBytesUp: (count: number) => void;
}

/** What a request to a repository does. */
export type Actions = 'pull' | 'pull,push' | 'delete';

/** A request to a repository, with the token scope that it needs. */
export interface EndpointRequest extends Omit<HttpRequest, 'scopes'> {
  readonly actions: Actions;
  /** Scopes on other repositories. */
  readonly moreScopes?: readonly string[];
}

/** Sends a request to a repository. */
export function send(
  endpoint: Endpoint,
  { actions, moreScopes, ...request }: EndpointRequest,
): Promise<HttpResponse> {
  const scopes = [scopeOf(endpoint.repository, actions), ...(moreScopes ?? [])];
  return endpoint.connection.transport({ ...request, scopes });
}

/** Returns a URL in a repository (distribution-spec, "Endpoints"). */
export function endpointUrl({ connection, repository }: Endpoint, path: string): URL {
  return connection.url(`${repository}/${path}`);
}

/** Returns the token scope for actions on a repository. */
export function scopeOf(repository: string, actions: Actions): string {
  return `repository:${repository}:${actions}`;
}

/** Returns the context of errors about a blob. `verb` follows "Cannot". */
export function blobContext({ name }: Endpoint, digest: Digest, verb: string): ResponseContext {
  return {
    action: `${verb} the blob ${digest} of ${name}`,
    notFound: 'BLOB_NOT_FOUND',
    facts: { repository: name, digest },
  };
}

/** Reads a whole body. @throws RegistryError LIMIT_EXCEEDED if it has more than `limit` bytes */
export async function readBody(
  response: HttpResponse,
  limit: number,
  context: ResponseContext,
): Promise<Buffer> {
  const { bytes, complete } = await readAtMost(response.body, limit);
  if (complete) return bytes;
  response.body.destroy();
  throw new RegistryError({
    code: 'LIMIT_EXCEEDED',
    message: `Cannot ${context.action}: the response is larger than the limit of ${limit} bytes`,
    facts: context.facts,
  });
}

/** Does what checkStatus does, and discards the body. */
export async function checkEmpty(
  response: HttpResponse,
  accepted: readonly number[],
  context: ResponseContext,
): Promise<HttpResponse> {
  await checkStatus(response, accepted, context);
  await discardBody(response);
  return response;
}

/** Returns Content-Length as a number of bytes; undefined if it is missing or malformed. */
export function contentLength(response: HttpResponse): number | undefined {
  const text = response.headers['content-length'];
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}

/** Returns the digest stated by a response. */
export function statedDigest(response: HttpResponse): Digest | undefined {
  const text = response.headers['docker-content-digest'];
  return text !== undefined && isDigest(text) ? text : undefined;
}

/**
 * Checks the digest under which a registry reports having stored something. One of another algorithm cannot
 * be compared: registries respond with their preferred one.
 * @throws RegistryError DIGEST_MISMATCH
 */
export function checkStoredDigest(response: HttpResponse, digest: Digest, { name }: Endpoint): void {
  const stored = statedDigest(response);
  if (stored === undefined || stored === digest || digestAlgorithm(stored) !== digestAlgorithm(digest))
    return;
  throw new RegistryError({
    code: 'DIGEST_MISMATCH',
    message: `${name} stored ${digest} under another digest, ${stored}`,
    hint: 'The registry or a proxy in front of it changes content.',
    facts: { digest, repository: name },
  });
}

/**
 * Returns where an upload continues: the Location of a response, which may be relative to the URL of the
 * response and may be on another host (the transport sends no credentials there).
 * @throws RegistryError UNEXPECTED_RESPONSE, UNSAFE_REDIRECT
 */
export function uploadLocation(response: HttpResponse, endpoint: Endpoint): URL {
  const location = response.headers['location'];
  const named = location === undefined ? null : URL.parse(location, response.url);
  const origin = new URL(endpoint.connection.origin());
  const url = named === null ? null : withTlsOf(origin, named);
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw new RegistryError({
      code: 'UNEXPECTED_RESPONSE',
      message: `${endpoint.name} opened an upload without saying where it continues`,
      hint: 'The registry, or a proxy in front of it, omits the Location header.',
      facts: { repository: endpoint.name, status: response.status },
    });
  }
  const downgraded = origin.protocol === 'https:' && url.protocol === 'http:';
  if (downgraded || !mayRedirectTo(origin, url)) {
    throw new RegistryError({
      code: 'UNSAFE_REDIRECT',
      message: `${endpoint.name} directs an upload to ${url.protocol}//${url.host}, which is refused`,
      hint: "The address is in a private network or has no TLS; the registry's external URL is probably misconfigured.",
      facts: { repository: endpoint.name, host: url.host },
    });
  }
  return url;
}

/** Adds the digest to an upload URL. The query is kept byte for byte, since it may be signed. */
export function withDigest(location: URL, digest: string): URL {
  const url = new URL(location);
  url.hash = '';
  return new URL(`${url.href}${url.search === '' ? '?' : '&'}digest=${digest}`);
}
