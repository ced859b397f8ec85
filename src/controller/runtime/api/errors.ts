import { KmmError } from '../../../shared/errors.ts';

/** Why a request to the API server failed. */
export type ApiErrorCode =
  /** No kubeconfig, or one that names no cluster. */
  | 'INVALID_CONFIGURATION'
  /** 400. */
  | 'BAD_REQUEST'
  /** 401. */
  | 'UNAUTHORIZED'
  /** 403: RBAC or an admission plugin says no. */
  | 'FORBIDDEN'
  /** 404. */
  | 'NOT_FOUND'
  /** 409 on create. */
  | 'ALREADY_EXISTS'
  /** 409: the object changed meanwhile, or another field manager owns the field. */
  | 'CONFLICT'
  /** 410: the resource version or the continue token is too old. */
  | 'GONE'
  /** 422: the API server's validation refuses the object. */
  | 'INVALID'
  /** 429. */
  | 'TOO_MANY_REQUESTS'
  /** 500 to 599. */
  | 'UNAVAILABLE'
  /** DNS, connection or TLS. */
  | 'NETWORK'
  /** No answer in time. */
  | 'TIMEOUT'
  /** An answer that is larger than what is read. */
  | 'TOO_LARGE'
  /** An answer that the API server should not give. */
  | 'UNEXPECTED_RESPONSE';

/** A request to the API server that failed. `facts` hold what applies of method, path, status, reason, kind (of what it is about) and causes. */
export class ApiError extends KmmError<ApiErrorCode> {
  override readonly name = 'ApiError';
}

/** Whether an error is an ApiError with one of the codes. */
export function isApiError(error: unknown, ...codes: readonly ApiErrorCode[]): error is ApiError {
  return error instanceof ApiError && (codes.length === 0 || codes.includes(error.code));
}

/** Thrown by a reconciler whose failure no repetition mends: counted and logged, tried again only after a change. */
export class TerminalError extends Error {
  override readonly name = 'TerminalError';
}
