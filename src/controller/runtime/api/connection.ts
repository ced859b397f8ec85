import { type IncomingMessage, request as httpRequest } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest, type RequestOptions } from 'node:https';
import type { KubeConfig } from '@kubernetes/client-node';
import { Credentials } from './credentials.ts';
import { ApiError } from './errors.ts';

/** One request, before authentication. */
export interface ConnectionRequest {
  readonly method: string;
  /** Includes the query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | undefined;
  /** Aborts the request and the stream of its response. */
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds within which credentials must be there, and then the head of the response. */
  readonly timeout: number;
}

/** A connection to the API server: sends requests with the credentials of a kubeconfig. */
export interface Connection {
  /** The host, for messages and metrics. */
  readonly host: string;
  /** Sends a request. The body of the response is still to be read. @throws ApiError NETWORK, TIMEOUT */
  send(request: ConnectionRequest): Promise<IncomingMessage>;
  /** Closes idle connections. */
  close(): void;
}

/** Milliseconds of idleness after which TCP keep-alive probes are sent. */
const keepAliveDelay = 30_000;
/** Methods that can be retried, since they change nothing. */
const retryable: ReadonlySet<string> = new Set(['GET', 'HEAD']);

/**
 * Creates a connection to the kubeconfig's current cluster. Tokens and certificates are obtained anew each
 * second, so that changes take effect.
 * @throws ApiError INVALID_CONFIGURATION
 */
export function createConnection(config: KubeConfig): Connection {
  const cluster = config.getCurrentCluster();
  if (cluster === null || !URL.canParse(cluster.server)) {
    throw new ApiError({
      code: 'INVALID_CONFIGURATION',
      message: 'The kubeconfig does not name an API server',
      hint: 'Set KUBECONFIG to a file with a current context, or run within a pod.',
    });
  }
  const server = new URL(cluster.server);
  const agent = new HttpsAgent({ keepAlive: true, keepAliveMsecs: keepAliveDelay });
  const viaProxy = cluster.proxyUrl !== undefined || server.protocol === 'http:';
  const prefix = server.pathname.replace(/\/$/, '');

  const credentials = new Credentials(config);

  async function attempt(request: ConnectionRequest): Promise<IncomingMessage> {
    const options = await credentials.get(request.timeout, request.signal);
    return exchange(server, request, {
      ...options,
      // Only the kubeconfig decides about proxies; without one, connections are kept alive.
      ...(viaProxy ? {} : { agent }),
      path: `${prefix}${request.path}`,
      method: request.method,
      headers: {
        ...flatHeaders(options.headers),
        ...request.headers,
        // Node sends no length for the body of a DELETE; without it, the body would be parsed as the next
        // request.
        ...(request.body === undefined ? {} : { 'content-length': Buffer.byteLength(request.body) }),
      },
    });
  }

  return {
    host: server.host,
    async send(request) {
      try {
        return await attempt(request);
      } catch (error) {
        // The server may have closed a kept-alive connection, before or after it received the request.
        const isStale = error instanceof StaleConnection;
        if (!isStale || !retryable.has(request.method)) throw toApiError(error, request, server);
      }
      return attempt(request).catch((error: unknown) => {
        throw toApiError(error, request, server);
      });
    },
    close: () => agent.destroy(),
  };
}

class StaleConnection extends Error {}
class HeadTimeout extends Error {}

function exchange(
  server: URL,
  request: ConnectionRequest,
  options: RequestOptions,
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    request.signal?.throwIfAborted();
    const start = server.protocol === 'http:' ? httpRequest : httpsRequest;
    const sent = start(server, {
      ...options,
      ...(request.signal === undefined ? {} : { signal: request.signal }),
    });
    const timer = setTimeout(() => sent.destroy(new HeadTimeout()), request.timeout);
    sent.once('response', (response) => {
      clearTimeout(timer);
      resolve(response);
    });
    sent.on('error', (error: NodeJS.ErrnoException) => {
      clearTimeout(timer);
      const isStale = sent.reusedSocket && (error.code === 'ECONNRESET' || error.code === 'EPIPE');
      reject(isStale ? new StaleConnection(error.message) : error);
    });
    sent.once('close', () => clearTimeout(timer));
    sent.end(request.body);
  });
}

function flatHeaders(headers: RequestOptions['headers']): Record<string, string> {
  if (headers === undefined || Array.isArray(headers)) return {};
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]));
}

function toApiError(error: unknown, request: ConnectionRequest, server: URL): unknown {
  if (request.signal?.aborted === true) return request.signal.reason;
  if (error instanceof ApiError) return error;
  const facts = { method: request.method, path: request.path, server: server.host };
  if (error instanceof HeadTimeout) {
    return new ApiError({
      code: 'TIMEOUT',
      message: `The request ${request.method} ${request.path} to the API server ${server.host} timed out`,
      facts,
    });
  }
  return new ApiError({
    code: 'NETWORK',
    message: `The API server ${server.host} cannot be reached: ${error instanceof Error ? error.message : 'unknown reason'}`,
    hint: 'Check that the API server is running and that the kubeconfig names it.',
    facts,
  });
}

/**
 * Reads the kubeconfig like kubectl: the given file, else KUBECONFIG, else ~/.kube/config, else the pod's
 * service account.
 */
export async function loadConfig(file?: string): Promise<KubeConfig> {
  const { KubeConfig: Config } = await import('@kubernetes/client-node/dist/config.js');
  const config = new Config();
  if (file === undefined) config.loadFromDefault();
  else config.loadFromFile(file);
  return config;
}
