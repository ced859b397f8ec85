import type { ServerResponse } from 'node:http';
import { KmmError } from '../../shared/errors.ts';

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
