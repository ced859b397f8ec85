import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from 'node:http';
import { type Logger, silentLogger } from '../../shared/logger.ts';
import { RegistryError } from '../model/errors.ts';
import { type Authenticate, type BasicAuthentication, createAuthenticate } from './basic-authentication.ts';
import { handleBlob, handleUpload, handleUploads } from './blobs.ts';
import {
  type Exchange,
  methodNotAllowed,
  type RegistryContext,
  sendEmpty,
  ProtocolError,
  sendProtocolError,
} from './exchange.ts';
import { handleCatalog, handleReferrers, handleTags } from './listings.ts';
import { ManifestStore } from './manifest-store.ts';
import { handleManifest } from './manifests.ts';
import { parseRoute } from './route.ts';
import { openStorageRoot } from './storage-root.ts';
import { isFileError, storageLayout } from './storage.ts';
import { UploadSessions } from './upload-session.ts';

/**
 * Milliseconds without a byte after which a connection is closed. The duration of an upload is not limited.
 */
const idleTimeout = 5 * 60 * 1000;

export interface StartRegistryOptions {
  /**
   * The storage directory: an empty one, one that does not exist yet, or one that a registry has used before.
   * Only one registry at a time may use it.
   */
  readonly root: string;
  /** @default '127.0.0.1' */
  readonly host?: string | undefined;
  /** 0 takes any free port. @default 0 */
  readonly port?: number | undefined;
  /** PEM. @default plain HTTP */
  readonly tls?: { readonly cert: string | Buffer; readonly key: string | Buffer } | undefined;
  /** @default no authentication */
  readonly basicAuth?: BasicAuthentication | undefined;
  /** @default silent */
  readonly logger?: Logger | undefined;
}

/** A registry that runs in this process. */
export interface RunningRegistry {
  /** `http://127.0.0.1:5000` */
  readonly url: string;
  /** As in references: `127.0.0.1:5000`. */
  readonly address: string;
  readonly port: number;
  /** Closes connections, discards unfinished uploads, releases the port. */
  close(): Promise<void>;
}

/**
 * Starts the embedded registry: distribution-spec 1.1 (pull, push, content discovery, content management) on
 * files under `root`.
 * @throws RegistryError INVALID_CONFIGURATION (directory, password file, certificate), IN_USE (directory),
 * NETWORK (address in use)
 */
export async function startRegistry(options: StartRegistryOptions): Promise<RunningRegistry> {
  const { root, host = '127.0.0.1', port = 0, tls, basicAuth, logger = silentLogger } = options;
  const layout = storageLayout(root);
  await using resources = new AsyncDisposableStack();
  const authenticate = await createAuthenticate(basicAuth, resources);
  resources.use(await openStorageRoot(layout));
  const sessions = new UploadSessions(layout);
  resources.defer(() => sessions.close());
  const context: RegistryContext = { layout, manifests: new ManifestStore(layout), sessions, logger };
  const server = await createListener(tls, (request, response) => {
    void handleRequest(context, authenticate, request, response);
  });
  const bound = await listen(server, { host, port });
  resources.defer(() => closeServer(server));
  const running = resources.move();
  const address = `${host.includes(':') ? `[${host}]` : host}:${bound}`;
  return {
    url: `${tls === undefined ? 'http' : 'https'}://${address}`,
    address,
    port: bound,
    close: () => running.disposeAsync(),
  };
}

async function createListener(tls: StartRegistryOptions['tls'], listener: RequestListener): Promise<Server> {
  const server = tls === undefined ? createServer(listener) : await createTlsListener(tls, listener);
  server.requestTimeout = 0;
  server.timeout = idleTimeout;
  return server;
}

async function createTlsListener(
  tls: NonNullable<StartRegistryOptions['tls']>,
  listener: RequestListener,
): Promise<Server> {
  const https = await import('node:https');
  try {
    return https.createServer({ cert: tls.cert, key: tls.key }, listener);
  } catch (error) {
    throw new RegistryError({
      code: 'INVALID_CONFIGURATION',
      message: 'The certificate and key for TLS cannot be used',
      hint: 'Provide a certificate and its private key, both as PEM.',
      facts: { reason: error instanceof Error ? error.message : undefined },
    });
  }
}

async function closeServer(server: Server): Promise<void> {
  const closed = new Promise((resolve) => server.close(resolve));
  server.closeAllConnections();
  await closed;
}

function listen(server: Server, { host, port }: { host: string; port: number }): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', (error) => {
      reject(
        new RegistryError({
          code: 'NETWORK',
          message: `The registry cannot listen on ${host}:${port} (${error.message})`,
          hint: 'Choose another address or port; port 0 takes any free one.',
          facts: { host, port },
        }),
      );
    });
    server.listen({ host, port }, () => {
      const address = server.address();
      resolve(typeof address === 'object' && address !== null ? address.port : port);
    });
  });
}

/** Handles one request. Never throws: errors become responses of the protocol. */
async function handleRequest(
  context: RegistryContext,
  authenticate: Authenticate,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { logger } = context;
  response.setHeader('docker-distribution-api-version', 'registry/2.0');
  const { method = 'GET', url = '/' } = request;
  const { pathname, query } = splitTarget(url);
  try {
    await authenticate(request.headers.authorization);
    await dispatch({ ...context, request, response, method, query }, pathname);
    logger.debug('request', { method, path: pathname, status: response.statusCode });
  } catch (error) {
    const problem = toProtocolError(error);
    if (problem.status >= 500 && !request.destroyed) {
      logger.error('request failed', { method, path: pathname, reason: describe(error) });
    } else {
      logger.debug('request refused', { method, path: pathname, status: problem.status });
    }
    if (response.headersSent) response.destroy();
    else sendProtocolError(response, problem);
    // Node does not drain a partly read request by itself; the connection would be reset with the response
    // unread.
    request.resume();
  }
}

function splitTarget(target: string): { pathname: string; query: URLSearchParams } {
  const mark = target.indexOf('?');
  if (mark === -1) return { pathname: target, query: new URLSearchParams() };
  return { pathname: target.slice(0, mark), query: new URLSearchParams(target.slice(mark + 1)) };
}

async function dispatch(exchange: Exchange, pathname: string): Promise<void> {
  const route = parseRoute(pathname);
  switch (route.kind) {
    case 'base':
      if (exchange.method !== 'GET' && exchange.method !== 'HEAD') throw methodNotAllowed('GET, HEAD');
      return sendEmpty(exchange.response, 200);
    case 'catalog':
      return handleCatalog(exchange);
    case 'blob':
      return handleBlob(exchange, route);
    case 'uploads':
      return handleUploads(exchange, route.repository);
    case 'upload':
      return handleUpload(exchange, route);
    case 'manifest':
      return handleManifest(exchange, route);
    case 'tags':
      return handleTags(exchange, route.repository);
    case 'referrers':
      return handleReferrers(exchange, route);
  }
}

function toProtocolError(error: unknown): ProtocolError {
  if (error instanceof ProtocolError) return error;
  const full = isFileError(error, 'ENOSPC') || isFileError(error, 'EDQUOT');
  const message = full ? "the registry's disk is full" : 'the registry failed';
  return new ProtocolError({ status: full ? 507 : 500, code: 'UNKNOWN', message });
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
