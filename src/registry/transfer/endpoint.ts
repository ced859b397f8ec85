import type { Digest } from '../model/digest.ts';
import type { ResponseContext } from '../http/response-error.ts';
import type { RetryListener } from './retry.ts';
import type { HttpRequest, HttpResponse, Transport } from '../http/transport.ts';

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
