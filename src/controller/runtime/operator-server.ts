import { once } from 'node:events';
import { createServer, type RequestListener, type Server, type ServerResponse } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { Registry } from 'prom-client';
import type { Secret } from '../../shared/secret.ts';

/** Returns whether a client may read metrics: HTTP status 200, 401 or 403. */
export type ReadCheck = (authorization: string | undefined) => Promise<200 | 401 | 403>;

/** Checks one health condition. False or an error means that it failed. */
export type HealthCheck = () => boolean | Promise<boolean>;

export interface OperatorServerOptions {
  /** @default all addresses */
  readonly host?: string | undefined;
  /** 0: any free one. */
  readonly port: number;
  /** Whether the process is alive, or should be restarted. */
  readonly healthz?: Readonly<Record<string, HealthCheck>> | undefined;
  /** Whether the process can do its work. */
  readonly readyz?: Readonly<Record<string, HealthCheck>> | undefined;
  /** Served at /metrics. */
  readonly metrics?: Registry | undefined;
  /** Called with the header `authorization` before metrics are served. @default anybody may read them */
  readonly mayRead?: ReadCheck | undefined;
  /** PEM. @default plain HTTP */
  readonly tls?: { readonly certificate: string; readonly key: Secret<string> } | undefined;
}

export interface OperatorServer extends AsyncDisposable {
  readonly port: number;
  close(): Promise<void>;
}

/** Serves /healthz, /readyz and /metrics, each if configured. */
export async function startOperatorServer(options: OperatorServerOptions): Promise<OperatorServer> {
  const server = createServerFor(options.tls, (request, response) => {
    const path = (request.url ?? '/').replace(/\?.*$/, '');
    const isRead = request.method === 'GET' || request.method === 'HEAD';
    const { authorization } = request.headers;
    void respond({ path: isRead ? path : '', authorization }, options, response).catch(() => {
      if (!response.headersSent) send(response, 500, 'failed\n');
    });
  });
  server.listen(options.port, options.host);
  await once(server, 'listening');
  const address = server.address();
  const close = async (): Promise<void> => {
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
  };
  return {
    port: typeof address === 'object' && address !== null ? address.port : options.port,
    close,
    [Symbol.asyncDispose]: close,
  };
}

function createServerFor(tls: OperatorServerOptions['tls'], listener: RequestListener): Server {
  if (tls === undefined) return createServer(listener);
  return createSecureServer({ cert: tls.certificate, key: tls.key.reveal() }, listener);
}

async function respond(
  { path, authorization }: { readonly path: string; readonly authorization: string | undefined },
  options: OperatorServerOptions,
  response: ServerResponse,
): Promise<void> {
  const { healthz, readyz, metrics, mayRead } = options;
  if (path === '/metrics' && metrics !== undefined) {
    const status = await (mayRead?.(authorization) ?? 200);
    if (status !== 200) return send(response, status, status === 401 ? 'unauthorized\n' : 'forbidden\n');
    return send(response, 200, await metrics.metrics(), metrics.contentType);
  }
  const checks = path === '/healthz' ? healthz : path === '/readyz' ? readyz : undefined;
  if (checks === undefined) return send(response, 404, 'not found\n');
  const results = await Promise.all(
    Object.entries(checks).map(async ([name, check]) => ({ name, ok: await passes(check) })),
  );
  const failed = results.filter(({ ok }) => !ok);
  if (failed.length === 0) return send(response, 200, 'ok\n');
  send(response, 500, results.map(({ name, ok }) => `[${ok ? '+' : '-'}]${name}\n`).join(''));
}

async function passes(check: HealthCheck): Promise<boolean> {
  try {
    return await check();
  } catch {
    return false;
  }
}

function send(
  response: ServerResponse,
  status: number,
  body: string,
  type = 'text/plain; charset=utf-8',
): void {
  response.writeHead(status, { 'content-type': type, 'x-content-type-options': 'nosniff' }).end(body);
}
