import { RegistryError } from '../model/errors.ts';
import { bareHost, mayRedirectTo, redactedUrl, withTlsOf } from './address.ts';

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
