import * as z from 'zod/mini';
import { Flights } from '../../shared/flights.ts';
import { parseJson } from '../../shared/json.ts';
import { LruMap } from '../../shared/lru.ts';
import { Secret } from '../../shared/secret.ts';
import type { Credential } from '../credentials/keychain.ts';
import { redactedUrl } from './address.ts';
import { discardBody, readAtMost } from './response-body.ts';
import { isPage } from './response-error.ts';
import type { HttpRequest, HttpResponse, Transport } from './transport.ts';
import { RegistryError } from '../model/errors.ts';

/** A Bearer token and the time until which it is used. */
export interface Token {
  readonly value: Secret<string>;
  /** Milliseconds since the epoch, by our clock. */
  readonly expiresAt: number;
  /** A new refresh token that replaces the one used. */
  readonly refreshToken?: Secret<string>;
}

export interface TokenRequest {
  /** Checked by `resolveRealm`. */
  readonly realm: URL;
  readonly service: string | undefined;
  readonly scopes: readonly string[];
  /** Null for an anonymous request. */
  readonly credential: Credential | null;
  readonly signal?: AbortSignal | undefined;
}

/** The largest response of a token server, in bytes. */
const maxTokenBody = 64 * 1024;
/** The shortest lifetime of a token, in seconds (distribution, token specification: "no less than 60"). */
const minLifetime = 60;
/** Milliseconds before its expiry at which a token is renewed. */
const renewalMargin = 10_000;
const clientId = 'kmm-sign';

const responseSchema = z.object({
  token: z.optional(z.nullable(z.string())),
  access_token: z.optional(z.nullable(z.string())),
  expires_in: z.optional(z.nullable(z.number())),
  issued_at: z.optional(z.nullable(z.string())),
  refresh_token: z.optional(z.nullable(z.string())),
});

/**
 * Fetches a token (distribution, "Token Authentication"): by POST with a refresh token, else by GET.
 * @returns null if the token server refuses the credential (401, 403)
 * @throws RegistryError UNEXPECTED_RESPONSE, TOO_MANY_REQUESTS, NETWORK, UNSAFE_REDIRECT
 */
export async function fetchToken(
  send: Transport,
  request: TokenRequest,
  now: () => number,
): Promise<Token | null> {
  const started = now();
  const response = await requestToken(send, request);
  if (response.status === 401 || response.status === 403) {
    await discardBody(response);
    return null;
  }
  if (response.status !== 200) {
    await discardBody(response);
    throw failure(request.realm, `it responded with ${response.status}`, response.status);
  }
  if (isPage(response)) {
    response.body.destroy();
    throw failure(request.realm, 'it responded with a page (text/html) instead of a token');
  }
  return parseToken(await readAtMost(response.body, maxTokenBody), request.realm, started);
}

async function requestToken(send: Transport, request: TokenRequest): Promise<HttpResponse> {
  if (request.credential?.identityToken === undefined) return send(getRequest(request));
  const response = await send(postRequest(request, request.credential.identityToken));
  // Token servers without the OAuth2 endpoint respond with these.
  if (response.status !== 404 && response.status !== 405) return response;
  await discardBody(response);
  return send(getRequest(request));
}

function getRequest({ realm, service, scopes, credential, signal }: TokenRequest): HttpRequest {
  const query: [string, string][] = [
    ...(service === undefined ? [] : [['service', service] as [string, string]]),
    ...scopes.map((scope): [string, string] => ['scope', scope]),
    ...(credential?.username ? [['account', credential.username] as [string, string]] : []),
  ];
  const url = new URL(realm);
  for (const [name, value] of query) url.searchParams.append(name, value);
  const authorization = credential === null ? null : basicAuthorization(credential);
  return { method: 'GET', url, headers: authorization === null ? {} : { authorization }, signal };
}

function postRequest(
  { realm, service, scopes, signal }: TokenRequest,
  refreshToken: Secret<string>,
): HttpRequest {
  const form = new URLSearchParams({
    grant_type: 'refresh_token',
    ...(service === undefined ? {} : { service }),
    ...(scopes.length === 0 ? {} : { scope: scopes.join(' ') }),
    client_id: clientId,
    refresh_token: refreshToken.reveal(),
  });
  return {
    method: 'POST',
    url: realm,
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: Buffer.from(form.toString()),
    retriable: true,
    signal,
  };
}

/**
 * Returns the Basic scheme's header value (RFC 7617), or null for a credential without user name and
 * password.
 */
export function basicAuthorization({ username, password, identityToken }: Credential): string | null {
  const secret = password ?? identityToken;
  if (secret === undefined) return null;
  const name = username ?? (password === undefined ? '<token>' : '');
  return `Basic ${Buffer.from(`${name}:${secret.reveal()}`).toString('base64')}`;
}

function parseToken(body: { bytes: Buffer; complete: boolean }, realm: URL, started: number): Token {
  if (!body.complete) throw failure(realm, `its response is longer than ${maxTokenBody} bytes`);
  const parsed = responseSchema.safeParse(parseJson(body.bytes.toString('utf8')));
  const value = parsed.success ? (parsed.data.token ?? parsed.data.access_token ?? '') : '';
  // The HTTP library would quote a value that is invalid in a header in its error.
  if (!parsed.success || !/^[\x21-\x7e]+$/.test(value))
    throw failure(realm, 'its response contains no token');
  const { expires_in: seconds, issued_at: issuedAt, refresh_token: refreshToken } = parsed.data;
  return {
    value: new Secret(value),
    expiresAt: expiry(seconds ?? minLifetime, issuedAt ?? undefined, started),
    ...(refreshToken ? { refreshToken: new Secret(refreshToken) } : {}),
  };
}

/** Returns when to renew a token. The server's clock is trusted only if it agrees with ours. */
export function expiry(seconds: number, issuedAt: string | undefined, now: number): number {
  const lifetime = Math.max(seconds, minLifetime) * 1000;
  const issued = issuedAt === undefined ? Number.NaN : Date.parse(issuedAt);
  const start = issued <= now && issued + lifetime > now ? issued : now;
  return start + lifetime - renewalMargin;
}

function failure(realm: URL, problem: string, status?: number): RegistryError {
  return new RegistryError({
    code: status === 429 ? 'TOO_MANY_REQUESTS' : 'UNEXPECTED_RESPONSE',
    message: `Cannot get a token from ${redactedUrl(realm)}: ${problem}`,
    hint:
      status === 429 ? 'Wait, then try again.' : "Ask the registry's administrator about its token server.",
    facts: { url: redactedUrl(realm), status },
  });
}

/** The most tokens to keep: there is one for each repository of a registry and each set of actions. */
const maxTokens = 1000;

/** Caches tokens and shares requests for them: callers that need the same token wait for the same request. */
export class TokenCache {
  readonly #tokens = new LruMap<Token>(maxTokens);
  readonly #requests = new Flights<Token | null>();
  readonly #now: () => number;

  constructor(now: () => number) {
    this.#now = now;
  }

  /** Returns a token that is still valid. */
  get(key: string): Token | null {
    const token = this.#tokens.get(key);
    return token !== undefined && token.expiresAt > this.#now() ? token : null;
  }

  /** Removes a token that was refused, unless it has already been replaced. */
  drop(key: string, refused: Token): void {
    if (this.#tokens.get(key) === refused) this.#tokens.delete(key);
  }

  /**
   * Returns the cached token, or joins the request in flight, or sends one. A signal ends the wait, and the
   * request if nobody is waiting for it any more.
   */
  async obtain(
    key: string,
    fetch: (signal: AbortSignal) => Promise<Token | null>,
    signal: AbortSignal | undefined,
  ): Promise<Token | null> {
    const known = this.get(key);
    if (known !== null) return known;
    return this.#requests.join(key, signal, async (flight) => {
      const token = await fetch(flight.signal);
      if (token !== null) this.#tokens.set(key, token);
      return token;
    });
  }
}
