import { BlockList, isIP } from 'node:net';

/** How far away a host is, as far as its spelling tells. */
export type AddressClass = 'public' | 'private' | 'loopback' | 'link-local' | 'unspecified';

const ranges: readonly [AddressClass, BlockList][] = [
  ['loopback', blockList(['127.0.0.0', 8], ['::1', 128])],
  ['link-local', blockList(['169.254.0.0', 16], ['fe80::', 10])],
  ['unspecified', blockList(['0.0.0.0', 8], ['::', 128])],
  [
    'private',
    blockList(['10.0.0.0', 8], ['172.16.0.0', 12], ['192.168.0.0', 16], ['100.64.0.0', 10], ['fc00::', 7]),
  ],
];

function blockList(...subnets: readonly [string, number][]): BlockList {
  const list = new BlockList();
  // Not by isIP: the regular expression of IPv6 takes milliseconds of every start.
  for (const [network, prefix] of subnets)
    list.addSubnet(network, prefix, network.includes(':') ? 'ipv6' : 'ipv4');
  return list;
}

/** The host of a URL without the brackets of an IPv6 address. */
export function bareHost(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, '');
}

/**
 * Classifies the host of a URL. Names count as public, but for localhost: what they resolve to is not asked.
 * The URL parser has brought every spelling of an address (octal, hexadecimal, short) to one form before.
 */
export function addressClass(url: URL): AddressClass {
  const host = bareHost(url);
  const name = host.toLowerCase().replace(/\.$/, '');
  if (name === 'localhost' || name.endsWith('.localhost')) return 'loopback';
  const version = isIP(host);
  if (version === 0) return 'public';
  const family = version === 6 ? 'ipv6' : 'ipv4';
  return ranges.find(([, list]) => list.check(host, family))?.[0] ?? 'public';
}

/** Tells whether a registry may send us on to a host: never from the outside to the inside. */
export function mayLeadTo(registry: URL, target: URL): boolean {
  if (bareHost(registry) === bareHost(target)) return true;
  const to = addressClass(target);
  if (to === 'public') return true;
  const from = addressClass(registry);
  return to === from ? to !== 'unspecified' : to === 'private' && from === 'loopback';
}
