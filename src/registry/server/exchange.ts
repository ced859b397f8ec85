import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Logger } from '../../shared/log.ts';
import type { ManifestStore } from './manifest-store.ts';
import type { StorageLayout } from './storage.ts';
import type { UploadSessions } from './upload-session.ts';
import { ProtocolError } from './protocol-error.ts';

/** What the parts of a running registry share. */
export interface RegistryContext {
  readonly layout: StorageLayout;
  readonly manifests: ManifestStore;
  readonly sessions: UploadSessions;
  readonly logger: Logger;
}

/** One request and its answer. */
export interface Exchange extends RegistryContext {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly method: string;
  readonly query: URLSearchParams;
}

/** Sends an answer without a body. */
export function sendEmpty(
  response: ServerResponse,
  status: number,
  headers: Readonly<Record<string, string>> = {},
): void {
  response.writeHead(status, status === 204 ? headers : { ...headers, 'content-length': '0' });
  response.end();
}

/** Sends an answer with a body in memory; HEAD gets the headers alone. */
export function sendBytes(
  { method, response }: Exchange,
  { bytes, headers }: { bytes: Buffer; headers: Readonly<Record<string, string>> },
): void {
  response.writeHead(200, { ...headers, 'content-length': bytes.length });
  response.end(method === 'HEAD' ? undefined : bytes);
}

/** The answer to a method that a path does not know. */
export function methodNotAllowed(allow: string): ProtocolError {
  return new ProtocolError({
    status: 405,
    code: 'UNSUPPORTED',
    message: 'the method does not apply here',
    headers: { allow },
  });
}
