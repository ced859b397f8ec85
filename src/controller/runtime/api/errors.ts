import { KmmError } from '../../../shared/errors.ts';
import * as z from 'zod';

/** Why a request to the API server failed. */
export type ApiErrorCode =
  /** No kubeconfig, or one without a current cluster. */
  | 'INVALID_CONFIGURATION'
  /** 400. */
  | 'BAD_REQUEST'
  /** 401. */
  | 'UNAUTHORIZED'
  /** 403: refused by RBAC or an admission plugin. */
  | 'FORBIDDEN'
  /** 404. */
  | 'NOT_FOUND'
  /** 409 on create. */
  | 'ALREADY_EXISTS'
  /** 409: the object has changed meanwhile, or another field manager owns the field. */
  | 'CONFLICT'
  /** 410: the resource version or the continue token is too old. */
  | 'GONE'
  /** 422: the API server's validation rejects the object. */
  | 'INVALID'
  /** 429. */
  | 'TOO_MANY_REQUESTS'
  /** 500 to 599. */
  | 'UNAVAILABLE'
  /** DNS, connection or TLS. */
  | 'NETWORK'
  /** No response in time. */
  | 'TIMEOUT'
  /** A response that is larger than the limit. */
  | 'TOO_LARGE'
  /** A response that an API server should not send. */
  | 'UNEXPECTED_RESPONSE';

/**
 * A request to the API server that failed. `facts` has what applies of method, path, status, reason, kind (of
 * the object) and causes.
 */
export class ApiError extends KmmError<ApiErrorCode> {
  override readonly name = 'ApiError';
}

/** Returns whether an error is an ApiError, with one of the codes if any are given. */
export function isApiError(error: unknown, ...codes: readonly ApiErrorCode[]): error is ApiError {
  return error instanceof ApiError && (codes.length === 0 || codes.includes(error.code));
}

/** For `catch`: an object that does not exist is undefined. @throws any other error */
export function ignoreNotFound(error: unknown): undefined {
  if (!isApiError(error, 'NOT_FOUND')) throw error;
}

/**
 * For `catch` of a write: the object no longer exists or has changed, which its cache will report. @throws any
 * other error
 */
export function ignoreOutdated(error: unknown): undefined {
  if (!isApiError(error, 'NOT_FOUND', 'CONFLICT')) throw error;
}

/** Thrown by a reconciler if a retry cannot help: counted and logged, called again only after a change. */
export class TerminalError extends Error {
  override readonly name = 'TerminalError';
}

/** The part of metav1.Status that is read. */
const statusSchema = z.looseObject({
  code: z.number().optional(),
  reason: z.string().optional(),
  message: z.string().optional(),
  details: z
    .looseObject({
      kind: z.string().optional(),
      causes: z.array(z.looseObject({ reason: z.string().optional() })).optional(),
    })
    .optional()
    .catch(undefined),
});

const codes: Readonly<Record<number, ApiErrorCode>> = {
  400: 'BAD_REQUEST',
  401: 'UNAUTHORIZED',
  403: 'FORBIDDEN',
  404: 'NOT_FOUND',
  409: 'CONFLICT',
  410: 'GONE',
  422: 'INVALID',
  429: 'TOO_MANY_REQUESTS',
};

/**
 * Returns the error that a metav1.Status describes.
 * @param status HTTP status; without it, the code in the body counts
 */
export function errorFromStatus(method: string, path: string, body: unknown, status?: number): ApiError {
  const parsed = statusSchema.safeParse(body);
  const { code, reason, message, details } = parsed.success ? parsed.data : {};
  const number = status ?? code ?? 0;
  const explanation = message ?? reason ?? 'no reason given';
  const causes = details?.causes?.flatMap((cause) => cause.reason ?? []);
  return new ApiError({
    code: codeFor(number, reason),
    message: `The API server refused ${method} ${path} with ${number}: ${explanation}`,
    facts: { method, path, status: number, reason, kind: details?.kind, causes },
  });
}

function codeFor(status: number, reason: string | undefined): ApiErrorCode {
  if (reason === 'AlreadyExists') return 'ALREADY_EXISTS';
  if (reason === 'Expired' || reason === 'Gone') return 'GONE';
  return codes[status] ?? (status >= 500 ? 'UNAVAILABLE' : 'UNEXPECTED_RESPONSE');
}
