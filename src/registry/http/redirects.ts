import { mayRedirectTo, redactedUrl, withTlsOf, bareHost } from './address.ts';
import { discardBody } from './response-body.ts';
import type { HttpRequest, HttpResponse, Transport } from './transport.ts';
import { RegistryError } from '../model/errors.ts';

/** The most redirects of one request. */
const maxRedirects = 10;

const redirectStatuses: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);
/** Headers for the first origin only. */
const credentialHeaders: ReadonlySet<string> = new Set(['authorization', 'cookie', 'proxy-authorization']);

/**
 * Follows redirects of GET and HEAD. Credentials are sent to the first origin only, and dropped for good once
 * a redirect leaves it.
 * @throws RegistryError UNSAFE_REDIRECT
 */
export function withRedirects(inner: Transport, registry: () => URL): Transport {
  const follow = async (request: HttpRequest, redirects: number): Promise<HttpResponse> => {
    const response = await inner(request);
    const location = response.headers.location;
    const follows = request.method === 'GET' || request.method === 'HEAD';
    if (!follows || !redirectStatuses.has(response.status) || location === undefined) return response;
    await discardBody(response);
    if (redirects === maxRedirects)
      throw unsafe(request.url, request.url, `it redirects more than ${maxRedirects} times`);
    return follow(nextHop(request, location, registry()), redirects + 1);
  };
  return (request) => follow(request, 0);
}

/** Returns the request for the next hop. @throws RegistryError UNSAFE_REDIRECT */
export function nextHop(request: HttpRequest, location: string, registry: URL): HttpRequest {
  const named = URL.parse(location, request.url);
  if (named === null) throw unsafe(request.url, request.url, 'it redirects to something that is not a URL');
  const target = withTlsOf(registry, named);
  checkTarget(request.url, target, registry);
  const { scopes: _, ...rest } = request;
  if (target.origin === request.url.origin) return { ...rest, url: target };
  return { ...rest, url: target, headers: withoutCredentials(request.headers ?? {}) };
}

/** Refuses a target that no server may redirect us to. @throws RegistryError UNSAFE_REDIRECT */
function checkTarget(from: URL, target: URL, registry: URL): void {
  if (target.protocol !== 'https:' && target.protocol !== 'http:') {
    throw unsafe(from, target, 'only http and https are followed');
  }
  if (target.username !== '' || target.password !== '')
    throw unsafe(from, target, 'it contains a user name or password');
  if (from.protocol === 'https:' && target.protocol === 'http:') {
    throw unsafe(from, target, 'it leads from https to http');
  }
  if (!mayRedirectTo(registry, target))
    throw unsafe(from, target, 'the address is inside a private network or this machine');
}

/** Returns the headers without credentials. */
export function withoutCredentials(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).filter(([name]) => !credentialHeaders.has(name.toLowerCase())),
  );
}

function unsafe(from: URL, target: URL, problem: string): RegistryError {
  return new RegistryError({
    code: 'UNSAFE_REDIRECT',
    message: `${from.host} redirects to ${redactedUrl(target)}, which is refused: ${problem}`,
    hint: "Check the registry's configuration of its external URL and storage redirects.",
    facts: { url: redactedUrl(from), target: redactedUrl(target) },
  });
}

/** The rules for requests to a token server. */
export interface RealmRules {
  /** The registry's origin. */
  readonly registry: URL;
  /** Whether credentials are sent. */
  readonly sendsCredentials: boolean;
  /** Hosts, with their port if any, that may be sent credentials without TLS, besides the registry's own. */
  readonly plainHttpTokenServers: readonly string[];
}

/**
 * Resolves the realm of a Bearer challenge and decides whether it may be used: https only, unless the
 * registry itself uses plain http, and then with credentials only on the registry's own host or where
 * explicitly allowed; never an address further inside than the registry's.
 * @throws RegistryError UNSAFE_REDIRECT
 */
export function resolveRealm(
  realm: string,
  challengedAt: URL,
  { registry, sendsCredentials, plainHttpTokenServers }: RealmRules,
): URL {
  const refuse = (
    target: string,
    problem: string,
    hint = "Ask the registry's administrator about its token realm.",
  ): never => {
    throw new RegistryError({
      code: 'UNSAFE_REDIRECT',
      message: `${registry.host} names the token server ${target}, which is refused: ${problem}`,
      hint,
      facts: { registry: registry.host, target },
    });
  };
  if (realm === '' || !URL.canParse(realm, challengedAt))
    return refuse(JSON.stringify(realm.slice(0, 100)), 'it is not a URL');
  const url = new URL(withTlsOf(registry, new URL(realm, challengedAt)));
  const target = redactedUrl(url);
  if (url.protocol !== 'https:' && url.protocol !== 'http:') refuse(target, 'only http and https are known');
  if (url.username !== '' || url.password !== '') refuse(target, 'it contains a user name or password');
  if (url.protocol === 'http:' && registry.protocol !== 'http:')
    refuse(target, 'it does not use TLS, but the registry does');
  const isTrusted = bareHost(url) === bareHost(registry) || plainHttpTokenServers.includes(url.host);
  if (url.protocol === 'http:' && sendsCredentials && !isTrusted) {
    refuse(
      target,
      "it does not use TLS and is not on the registry's own host, so the credentials would be readable in transit",
      `Have it serve TLS, or allow it with --plain-http-token-server ${url.host}.`,
    );
  }
  if (!mayRedirectTo(registry, url))
    refuse(target, 'the address is inside a private network or this machine');
  url.hash = '';
  return url;
}
