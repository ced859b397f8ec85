import { RegistryError } from '../model/errors.ts';
import { mayLeadTo, withTlsOf } from '../http/address.ts';
import type { HttpResponse } from '../http/transport.ts';
import type { Endpoint } from './endpoint.ts';

/**
 * Where an upload goes on: the Location of an answer, which may be relative to the URL that answered and
 * may name another host (the transport sends no credentials there).
 * @throws RegistryError UNEXPECTED_RESPONSE, UNSAFE_REDIRECT
 */
export function uploadLocation(response: HttpResponse, endpoint: Endpoint): URL {
  const location = response.headers['location'];
  const named = location === undefined ? null : URL.parse(location, response.url);
  const origin = new URL(endpoint.connection.origin());
  const url = named === null ? null : withTlsOf(origin, named);
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw new RegistryError({
      code: 'UNEXPECTED_RESPONSE',
      message: `${endpoint.name} opened an upload but did not say where it goes on`,
      hint: 'The registry, or a proxy before it, leaves out the Location header.',
      facts: { repository: endpoint.name, status: response.status },
    });
  }
  const downgraded = origin.protocol === 'https:' && url.protocol === 'http:';
  if (downgraded || !mayLeadTo(origin, url)) {
    throw new RegistryError({
      code: 'UNSAFE_REDIRECT',
      message: `${endpoint.name} wants an upload to go to ${url.protocol}//${url.host}, where it must not lead`,
      hint: 'The registry names an address of an inner network or one without TLS; its own URL is probably configured wrongly.',
      facts: { repository: endpoint.name, host: url.host },
    });
  }
  return url;
}

/** Adds the digest to an upload's URL. Its query is kept byte for byte, since it may be signed. */
export function withDigest(location: URL, digest: string): URL {
  const url = new URL(location);
  url.hash = '';
  return new URL(`${url.href}${url.search === '' ? '?' : '&'}digest=${digest}`);
}
