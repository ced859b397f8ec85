import * as z from 'zod';
import { ApiError, type ApiErrorCode } from './errors.ts';

/** metav1.Status, as far as it is read. */
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

/** What failed, and what the API server said of it. */
export interface FailedRequest {
  readonly method: string;
  readonly path: string;
  /** HTTP status; that of the body counts where there is none. */
  readonly status?: number;
  readonly body: unknown;
}

/** The error that a metav1.Status describes. */
export function errorFromStatus({ method, path, status, body }: FailedRequest): ApiError {
  const parsed = statusSchema.safeParse(body);
  const { code, reason, message, details } = parsed.success ? parsed.data : {};
  const number = status ?? code ?? 0;
  const said = message ?? reason ?? 'no reason given';
  const causes = details?.causes?.flatMap((cause) => cause.reason ?? []);
  return new ApiError({
    code: codeFor(number, reason),
    message: `The API server refused ${method} ${path} with ${number}: ${said}`,
    facts: { method, path, status: number, reason, kind: details?.kind, causes },
  });
}

function codeFor(status: number, reason: string | undefined): ApiErrorCode {
  if (reason === 'AlreadyExists') return 'ALREADY_EXISTS';
  if (reason === 'Expired' || reason === 'Gone') return 'GONE';
  return codes[status] ?? (status >= 500 ? 'UNAVAILABLE' : 'UNEXPECTED_RESPONSE');
}
