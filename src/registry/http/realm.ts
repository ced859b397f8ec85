import { RegistryError } from '../errors.ts';
import { mayLeadTo } from './address.ts';
import { redactedUrl } from './redacted-url.ts';

/**
 * Resolves the realm of a Bearer challenge and decides whether credentials may be sent there: https only,
 * unless the registry itself is plain http, and never to an address further inside than the registry's.
 * @throws RegistryError UNSAFE_REDIRECT
 */
export function resolveRealm(realm: string, challengedAt: URL, registry: URL): URL {
  const refuse = (target: string, problem: string): never => {
    throw new RegistryError({
      code: 'UNSAFE_REDIRECT',
      message: `${registry.host} names the token server ${target}, which is refused: ${problem}`,
      hint: 'Ask whoever runs the registry about its token realm.',
      facts: { registry: registry.host, target },
    });
  };
  if (realm === '' || !URL.canParse(realm, challengedAt))
    return refuse(JSON.stringify(realm.slice(0, 100)), 'it is not a URL');
  const url = new URL(realm, challengedAt);
  const target = redactedUrl(url);
  if (url.protocol !== 'https:' && url.protocol !== 'http:') refuse(target, 'only http and https are known');
  if (url.username !== '' || url.password !== '') refuse(target, 'it holds a user name or password');
  if (url.protocol === 'http:' && registry.protocol !== 'http:')
    refuse(target, 'it does not use TLS, the registry does');
  if (!mayLeadTo(registry, url)) refuse(target, 'the address is inside a private network or this machine');
  url.hash = '';
  return url;
}
