import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { Logger } from '../../shared/logger.ts';
import type { ServerCertificate } from './certificates/server-certificate.ts';
import {
  formatAdmissionReview,
  parseAdmissionRequest,
  type AdmissionRequest,
  type Verdict,
} from './admission-review.ts';
import type { Validator } from './validators.ts';

/** A review has an object and its previous state; the API server accepts objects of up to 3 MiB. */
const maxBodyBytes = 8 * 1024 * 1024;
/** The API server's default timeout of ten seconds. Milliseconds. */
const requestTimeout = 10_000;

export interface WebhookServerOptions {
  /** @default all addresses */
  readonly host?: string | undefined;
  /** 0: any free one. */
  readonly port: number;
  readonly certificate: ServerCertificate;
  /** By path. */
  readonly webhooks: ReadonlyMap<string, Validator>;
  readonly log: Logger;
}

export interface WebhookServer extends AsyncDisposable {
  readonly port: number;
  /** Sets the certificate for new connections. @throws Error if it does not match its key */
  use(certificate: ServerCertificate): void;
}

/** Serves webhooks over HTTPS. */
export async function startWebhookServer(options: WebhookServerOptions): Promise<WebhookServer> {
  const { webhooks, log } = options;
  const server = createServer(
    { ...secureContext(options.certificate), requestTimeout },
    (request, response) => {
      void respond(request, response, webhooks).catch((error: unknown) => {
        log.error('admission request failed', { path: request.url, error });
        if (!response.headersSent) send(response, 500, 'failed\n');
      });
    },
  );
  server.listen(options.port, options.host);
  await once(server, 'listening');
  const address = server.address();
  return {
    port: typeof address === 'object' && address !== null ? address.port : options.port,
    use: (certificate) => server.setSecureContext(secureContext(certificate)),
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close');
      server.close();
      server.closeIdleConnections();
      // Requests in flight are finished; idle connections are closed.
      const forceClose = setTimeout(() => server.closeAllConnections(), requestTimeout);
      await closed;
      clearTimeout(forceClose);
    },
  };
}

function secureContext({ certificate, key }: ServerCertificate) {
  return { cert: certificate, key: key.reveal(), minVersion: 'TLSv1.2' } as const;
}

async function respond(
  request: IncomingMessage,
  response: ServerResponse,
  webhooks: ReadonlyMap<string, Validator>,
): Promise<void> {
  // The API server appends its timeout as a query.
  const validate = webhooks.get((request.url ?? '').replace(/\?.*$/s, ''));
  if (validate === undefined) return send(response, 404, 'not found\n');
  if (request.method !== 'POST') return send(response, 405, 'method not allowed\n');
  const body = await readBody(request);
  if (body === undefined) return send(response, 413, 'too large\n', { connection: 'close' });
  const admission = parseAdmissionRequest(body);
  if (admission === undefined) return send(response, 400, 'not an AdmissionReview of admission.k8s.io/v1\n');
  const verdict = await review(validate, admission);
  if (verdict === undefined) return send(response, 400, 'nested too deeply\n');
  send(response, 200, formatAdmissionReview(admission, verdict), { 'content-type': 'application/json' });
}

/** Returns the verdict, or undefined for an object that is nested too deeply to be traversed. */
async function review(validate: Validator, admission: AdmissionRequest): Promise<Verdict | undefined> {
  try {
    return await validate(admission);
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

/** Reads the body. Returns undefined if it is too large. */
async function readBody(request: IncomingMessage): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > maxBodyBytes) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function send(
  response: ServerResponse,
  status: number,
  body: string,
  headers: Readonly<Record<string, string>> = {},
): void {
  response
    .writeHead(status, {
      'content-type': 'text/plain; charset=utf-8',
      'x-content-type-options': 'nosniff',
      ...headers,
    })
    .end(body);
}
