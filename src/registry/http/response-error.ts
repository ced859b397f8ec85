import * as z from 'zod/mini';
import { parseJson } from '../../shared/json.ts';
import type { ErrorFacts } from '../../shared/errors.ts';
import { parseRetryAfter } from '../../shared/backoff.ts';
import { RegistryError, type RegistryErrorCode } from '../model/errors.ts';
import { excerpt } from '../../shared/printable.ts';
import { redactedUrl } from './address.ts';
import { readAtMost } from './response-body.ts';
import type { HttpResponse } from './transport.ts';

/** What was being done when an unexpected response arrived. */
export interface ResponseContext {
  /** Follows "Cannot": `read the manifest vendor/driver:1.0`. */
  readonly action: string;
  /** What a 404 means. @default 'NOT_FOUND' */
  readonly notFound?: 'NOT_FOUND' | 'BLOB_NOT_FOUND' | undefined;
  /** The repository, reference and digest concerned. */
  readonly facts?: ErrorFacts | undefined;
}

/** The most bytes read of an error body. */
const maxErrorBody = 64 * 1024;

const errorsSchema = z.object({
  errors: z.array(z.object({ code: z.optional(z.string()), message: z.optional(z.nullable(z.string())) })),
});

/**
 * Returns the response if its status is one of `accepted`.
 * @throws RegistryError otherwise, see `responseError`
 */
export async function checkStatus(
  response: HttpResponse,
  accepted: readonly number[],
  context: ResponseContext,
): Promise<HttpResponse> {
  if (accepted.includes(response.status)) return response;
  throw await responseError(response, context);
}

/** Tells whether a response is an HTML page: a proxy's login page, or a server that is not a registry. */
export function isPage({ headers }: HttpResponse): boolean {
  return /^\s*(?:text\/html|application\/xhtml\+xml)\s*(?:;|$)/i.test(headers['content-type'] ?? '');
}

/**
 * Refuses an HTML page where registry content is expected.
 * @throws RegistryError UNEXPECTED_RESPONSE that names the type
 */
export function checkNotPage(response: HttpResponse, { action, facts }: ResponseContext): void {
  if (!isPage(response)) return;
  const { status, url, body } = response;
  body.destroy();
  throw new RegistryError({
    code: 'UNEXPECTED_RESPONSE',
    message: `Cannot ${action}: ${url.host} responded with ${status}${withPage(response)}`,
    hint: pageHint,
    facts: { registry: url.host, ...facts, url: redactedUrl(url), status },
  });
}

const pageHint =
  'It looks like the login page of a proxy, or a web server that is not a registry: check the host, and HTTPS_PROXY and NO_PROXY.';

/**
 * Builds the error for a response from its status and the registry's explanation in the body. Consumes the
 * body.
 */
export async function responseError(
  response: HttpResponse,
  context: ResponseContext,
): Promise<RegistryError> {
  const { status, url } = response;
  const { codes, text } = await explanationOf(response);
  const retryAfter = parseRetryAfter(response.headers['retry-after'], Date.now());
  const code = errorCode(status, context);
  const isUnexpectedPage = status < 400 && isPage(response);
  return new RegistryError({
    code,
    message: `Cannot ${context.action}: ${url.host} responded with ${[String(status), ...codes].join(' ')}${isUnexpectedPage ? withPage(response) : ''}${text === '' ? '' : ` (${text})`}`,
    hint: isUnexpectedPage ? pageHint : hintFor(code, response),
    facts: {
      registry: url.host,
      ...context.facts,
      url: redactedUrl(url),
      status,
      ...(codes.length === 0 ? {} : { registryCodes: codes }),
      ...(response.credentials === undefined ? {} : { credentials: response.credentials }),
      ...(retryAfter === null ? {} : { retryAfterSeconds: Math.ceil(retryAfter / 1000) }),
    },
  });
}

const maybeMissing = 'a registry may also respond this way for a repository that does not exist.';

const hints: Partial<Record<RegistryErrorCode, string>> = {
  NOT_FOUND: 'Check the repository and tag.',
  UNAUTHORIZED: `Log in, or provide credentials with this permission; ${maybeMissing}`,
  DENIED: `Use credentials with this permission; ${maybeMissing}`,
  TOO_MANY_REQUESTS: 'Wait, then try again.',
};

function withPage(response: HttpResponse): string {
  return isPage(response) ? ` and a page (${excerpt(response.headers['content-type'] ?? '')})` : '';
}

function hintFor(code: RegistryErrorCode, { status, url, credentials }: HttpResponse): string | undefined {
  if (credentials === undefined) return hints[code];
  const names = credentials.join(' and ');
  if (status === 403) return `The request used ${names}; ${maybeMissing}`;
  return names === ''
    ? `No credentials for ${url.host} were found: log in with "docker login" or "podman login", or provide some; ${maybeMissing}`
    : `${url.host} refused ${names}: check these credentials, or log in again.`;
}

function errorCode(status: number, { notFound = 'NOT_FOUND' }: ResponseContext): RegistryErrorCode {
  switch (status) {
    case 401:
      return 'UNAUTHORIZED';
    case 403:
      return 'DENIED';
    case 404:
      return notFound;
    case 429:
      return 'TOO_MANY_REQUESTS';
    default:
      return 'UNEXPECTED_RESPONSE';
  }
}

interface Explanation {
  readonly codes: readonly string[];
  readonly text: string;
}

async function explanationOf(response: HttpResponse): Promise<Explanation> {
  let body: string;
  try {
    body = (await readAtMost(response.body, maxErrorBody)).bytes.toString('utf8');
  } catch {
    return { codes: [], text: '' };
  }
  const parsed = errorsSchema.safeParse(parseJson(body));
  // A proxy's HTML page says less than the status does.
  if (!parsed.success) return { codes: [], text: /^\s*[<{[]/.test(body) ? '' : excerpt(body) };
  const { errors } = parsed.data;
  const codes = errors.flatMap(({ code = '' }) => (/^[A-Z][A-Z0-9_]{0,60}$/.test(code) ? [code] : []));
  return { codes: [...new Set(codes)], text: excerpt(errors[0]?.message ?? '') };
}
