import type { IncomingMessage, ServerResponse } from 'node:http';
import { KmmError } from '../../shared/errors.ts';
import type { Logger } from '../../shared/logger.ts';
import type { ManifestStore } from './manifest-store.ts';
import type { StorageLayout } from './storage.ts';
import type { UploadSessions } from './upload-session.ts';

/** The shared context of a running registry. */
export interface RegistryContext {
  readonly layout: StorageLayout;
  readonly manifests: ManifestStore;
  readonly sessions: UploadSessions;
  readonly logger: Logger;
}

/** A request and its response. */
export interface Exchange extends RegistryContext {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly method: string;
  readonly query: URLSearchParams;
}

/** Sends a response without a body. */
export function sendEmpty(
  response: ServerResponse,
  status: number,
  headers: Readonly<Record<string, string>> = {},
): void {
  response.writeHead(status, status === 204 ? headers : { ...headers, 'content-length': '0' });
  response.end();
}

/** Sends a response with a body in memory; only the headers for HEAD. */
export function sendBytes(
  { method, response }: Exchange,
  { bytes, headers }: { bytes: Buffer; headers: Readonly<Record<string, string>> },
): void {
  response.writeHead(200, { ...headers, 'content-length': bytes.length });
  response.end(method === 'HEAD' ? undefined : bytes);
}

/** Builds the response to a method that a path does not support. */
export function methodNotAllowed(allow: string): ProtocolError {
  return new ProtocolError({
    status: 405,
    code: 'UNSUPPORTED',
    message: 'the method is not supported here',
    headers: { allow },
  });
}

/** A part of a blob; as in HTTP, both ends are included. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/**
 * Reads a Range header (RFC 9110, 14.2) for content of `size` bytes. Undefined means the whole content: no
 * header, a malformed one, or several ranges. `unsatisfiable` calls for a 416.
 */
export function parseRange(
  header: string | undefined,
  size: number,
): ByteRange | 'unsatisfiable' | undefined {
  const match = header === undefined ? null : /^bytes=(\d*)-(\d*)$/.exec(header.trim());
  if (match === null) return undefined;
  const [, first = '', last = ''] = match;
  if (first === '' && last === '') return undefined;
  if (first === '') {
    const length = Math.min(Number(last), size);
    return length === 0 ? 'unsatisfiable' : { start: size - length, end: size - 1 };
  }
  const start = Number(first);
  if (last !== '' && Number(last) < start) return undefined;
  if (start >= size) return 'unsatisfiable';
  return { start, end: last === '' ? size - 1 : Math.min(Number(last), size - 1) };
}

/** Reads the Content-Range of an upload chunk: `start-end`, without a unit. Undefined if malformed. */
export function parseChunkRange(header: string): ByteRange | undefined {
  const match = /^(\d{1,16})-(\d{1,16})$/.exec(header.trim());
  if (match === null) return undefined;
  const range = { start: Number(match[1]), end: Number(match[2]) };
  return range.end >= range.start ? range : undefined;
}

/**
 * Error codes of the distribution specification ("Error Codes"); UNKNOWN is for errors that are not the
 * client's fault.
 */
export type ProtocolErrorCode =
  | 'BLOB_UNKNOWN'
  | 'BLOB_UPLOAD_INVALID'
  | 'BLOB_UPLOAD_UNKNOWN'
  | 'DIGEST_INVALID'
  | 'MANIFEST_BLOB_UNKNOWN'
  | 'MANIFEST_INVALID'
  | 'MANIFEST_UNKNOWN'
  | 'NAME_INVALID'
  | 'NAME_UNKNOWN'
  | 'PAGINATION_NUMBER_INVALID'
  | 'SIZE_INVALID'
  | 'TOOMANYREQUESTS'
  | 'UNAUTHORIZED'
  | 'UNSUPPORTED'
  | 'UNKNOWN';

/** The constructor arguments of an error response. */
export interface ProtocolErrorDetails {
  readonly status: number;
  readonly code: ProtocolErrorCode;
  readonly message: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** An error response of the registry, in the specification's form. */
export class ProtocolError extends KmmError<ProtocolErrorCode> {
  override readonly name = 'ProtocolError';
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;

  constructor({ status, code, message, headers }: ProtocolErrorDetails) {
    super({ code, message });
    this.status = status;
    this.headers = headers ?? {};
  }
}

/** Sends an error as the specification's JSON; only the headers for HEAD. */
export function sendProtocolError(response: ServerResponse, error: ProtocolError): void {
  const body = Buffer.from(JSON.stringify({ errors: [{ code: error.code, message: error.message }] }));
  response.writeHead(error.status, {
    ...error.headers,
    'content-type': 'application/json',
    'content-length': body.length,
  });
  response.end(response.req.method === 'HEAD' ? undefined : body);
}
