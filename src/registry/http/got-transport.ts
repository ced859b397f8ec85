import type { Readable } from 'node:stream';
import type { Agent as HttpAgent, IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { Agent as HttpsAgent } from 'node:https';
import { asBytes, type LentChunk, type LentChunks } from '../../shared/chunks.ts';
import { networkError } from './network-error.ts';
import { ResponseBody } from './response-body.ts';
import type { HttpRequest, HttpResponse, Transport } from './transport.ts';

/** The connections that a request may use; the one for its scheme is enough. */
export interface AgentPair {
  readonly http?: HttpAgent;
  readonly https?: HttpsAgent;
}

/** Timeout of name lookup, connection and TLS handshake each, in milliseconds. */
const connectTimeout = 30_000;

/**
 * Sends requests with got and does nothing else: no redirects, no retries, no decompression; every status is
 * a response. Its errors are RegistryError NETWORK, or the signal's reason.
 * @param agentsFor chooses connections; may load certificates on the first call
 * @param idleTimeout milliseconds without a byte before a connection is considered dead
 */
export function createGotTransport(
  agentsFor: (url: URL) => Promise<AgentPair>,
  idleTimeout: number,
): Transport {
  return async (request) => {
    const [{ default: got }, agent] = await Promise.all([import('got'), agentsFor(request.url)]);
    request.signal?.throwIfAborted();
    const idle = request.idleTimeout ?? idleTimeout;
    const failure: SourceFailure = { error: undefined };
    const body = bodyOf(request, failure);
    const stream = got.stream(request.url, {
      method: request.method,
      headers: headersOf(request),
      ...(body === undefined ? {} : { body }),
      agent,
      ...(request.signal === undefined ? {} : { signal: request.signal }),
      timeout: {
        lookup: connectTimeout,
        connect: connectTimeout,
        secureConnect: connectTimeout,
        socket: idle,
      },
      retry: { limit: 0 },
      throwHttpErrors: false,
      followRedirect: false,
      decompress: false,
      strictContentLength: true,
    });
    return responseOf(stream, failure, request, idle);
  };
}

function headersOf({ headers, body, contentLength }: HttpRequest): Record<string, string> {
  return {
    ...headers,
    'accept-encoding': 'identity',
    ...(typeof body === 'function' && contentLength !== undefined
      ? { 'content-length': String(contentLength) }
      : {}),
  };
}

/** An error while our own body is read. It is not a network failure and is passed on unchanged. */
interface SourceFailure {
  error: unknown;
}

function bodyOf(
  { method, body }: HttpRequest,
  failure: SourceFailure,
): Buffer | AsyncIterable<Buffer> | undefined {
  if (method === 'GET' || method === 'HEAD') return undefined;
  // Without a body, got would wait for one to be written into its stream.
  return typeof body === 'function' ? asBytes(recordFailure(body(), failure)) : (body ?? Buffer.alloc(0));
}

/**
 * Passes the body on and records its failure. got requests a chunk once the previous one has been handed to
 * the system.
 */
async function* recordFailure(body: LentChunks, failure: SourceFailure): AsyncGenerator<LentChunk> {
  try {
    yield* body;
  } catch (error) {
    failure.error = error;
    throw error;
  }
}

function responseOf(
  stream: Readable,
  failure: SourceFailure,
  { url, signal }: HttpRequest,
  idleTimeout: number,
): Promise<HttpResponse> {
  const convert = (error: unknown): Error => {
    if (signal?.aborted === true) return abortReason(signal);
    return failure.error instanceof Error ? failure.error : networkError(url, error);
  };
  return new Promise((resolve, reject) => {
    stream.on('error', (error) => reject(convert(error)));
    stream.once('response', (response: IncomingMessage) => {
      // From here on, the body watches for silence: it knows whether the consumer is the slow one.
      response.setTimeout(0);
      resolve({
        status: response.statusCode ?? 0,
        headers: joined(response.headers),
        url,
        body: new ResponseBody(stream, convert, idleTimeout),
      });
    });
  });
}

/** Joins repeated headers; node:http returns only set-cookie as a list. */
function joined(headers: IncomingHttpHeaders): Record<string, string | undefined> {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name, Array.isArray(value) ? value.join(', ') : value]),
  );
}

function abortReason(signal: AbortSignal): Error {
  return signal.reason instanceof Error
    ? signal.reason
    : new DOMException('The operation was aborted', 'AbortError');
}
