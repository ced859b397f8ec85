import type { LookupAddress, LookupOptions } from 'node:dns';
import { lookup } from 'node:dns/promises';
import { BlockList, isIP, type LookupFunction } from 'node:net';
import { callbackify } from 'node:util';
import { once } from '../../shared/flights.ts';

/** The network that a host is in, judged by its spelling. */
export type AddressClass = 'public' | 'private' | 'loopback' | 'link-local' | 'unspecified';

const ranges: readonly [AddressClass, BlockList][] = [
  ['loopback', blockList(['127.0.0.0', 8], ['::1', 128])],
  ['link-local', blockList(['169.254.0.0', 16], ['fe80::', 10])],
  ['unspecified', blockList(['0.0.0.0', 8], ['::', 128])],
  [
    'private',
    blockList(
      ['10.0.0.0', 8],
      ['172.16.0.0', 12],
      ['192.168.0.0', 16],
      ['100.64.0.0', 10],
      ['fc00::', 7],
      ['fec0::', 10],
    ),
  ],
];

function blockList(...subnets: readonly [string, number][]): BlockList {
  const list = new BlockList();
  // Without isIP, whose IPv6 regular expression adds milliseconds to every start.
  for (const [network, prefix] of subnets)
    list.addSubnet(network, prefix, network.includes(':') ? 'ipv6' : 'ipv4');
  return list;
}

/** Returns the host of a URL, without the brackets of an IPv6 address. */
export function bareHost(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, '');
}

/**
 * Classifies the host of a URL. Names other than localhost count as public: what they resolve to is checked
 * when connecting. The URL parser has already normalized every spelling of an address (octal, hexadecimal,
 * short).
 */
export function addressClass(url: URL): AddressClass {
  const host = bareHost(url);
  const name = host.toLowerCase().replace(/\.$/, '');
  if (name === 'localhost' || name.endsWith('.localhost')) return 'loopback';
  return isIP(host) === 0 ? 'public' : classOfAddress(host);
}

/**
 * Classifies an IP address. An IPv6 address that embeds an IPv4 address gets its class, unless that is
 * public.
 */
function classOfAddress(address: string): AddressClass {
  if (isIP(address) === 4) return classInRanges(address, 'ipv4');
  const own = classInRanges(address, 'ipv6');
  if (own !== 'public') return own;
  const embedded = embeddedAddresses(groupsOf(address)).map((inner) => classInRanges(inner, 'ipv4'));
  return embedded.find((inner) => inner !== 'public') ?? 'public';
}

function classInRanges(address: string, family: 'ipv4' | 'ipv6'): AddressClass {
  return ranges.find(([, list]) => list.check(address, family))?.[0] ?? 'public';
}

/** Normalizes an IP address, an IPv4-mapped one to IPv4. Returns null for anything else. */
export function plainAddress(text: string): string | null {
  const version = isIP(text);
  if (version !== 6) return version === 4 ? text : null;
  const groups = groupsOf(text);
  return isPrefixOf(mapped, groups)
    ? dotted(groups[6], groups[7])
    : groups.map((group) => group.toString(16)).join(':');
}

/** Returns the eight groups of an IPv6 address. */
function groupsOf(address: string): number[] {
  const [zoneless = ''] = address.split('%');
  const [head = '', tail = ''] = bareHost(new URL(`http://[${zoneless}]`)).split('::');
  const [before = [], after = []] = [head, tail].map((part) =>
    part === '' ? [] : part.split(':').map((group) => Number.parseInt(group, 16)),
  );
  return [...before, ...Array.from({ length: 8 - before.length - after.length }, () => 0), ...after];
}

const mapped = [0, 0, 0, 0, 0, 0xffff];

/** Prefixes of IPv6 addresses that embed IPv4 addresses, and how to extract these. */
const embeddings: readonly {
  readonly prefix: readonly number[];
  readonly at: (groups: readonly number[]) => string[];
}[] = [
  { prefix: mapped, at: lastOf },
  // IPv4-compatible and IPv4-translated (RFC 4291, RFC 2765).
  { prefix: [0, 0, 0, 0, 0, 0], at: lastOf },
  { prefix: [0, 0, 0, 0, 0xffff, 0], at: lastOf },
  // NAT64's well-known prefix (RFC 6052).
  { prefix: [0x64, 0xff9b, 0, 0, 0, 0], at: lastOf },
  // NAT64's local-use prefix (RFC 8215): each network chooses the length, so every position is considered.
  {
    prefix: [0x64, 0xff9b, 1],
    at: (groups) => {
      const [, , , third = 0, fourth = 0, fifth = 0, sixth = 0] = groups;
      const places = [
        dotted(third, shifted(fourth, fifth)),
        dotted(((third & 0xff) << 8) | (fourth & 0xff), fifth),
        dotted(shifted(fourth, fifth), shifted(fifth, sixth)),
        ...lastOf(groups),
      ];
      const filled = places.filter((place) => !place.startsWith('0.'));
      return filled.length === 0 ? lastOf(groups) : filled;
    },
  },
  // 6to4 (RFC 3056).
  { prefix: [0x2002], at: ([, one, other]) => [dotted(one, other)] },
];

function embeddedAddresses(groups: readonly number[]): string[] {
  return embeddings.find(({ prefix }) => isPrefixOf(prefix, groups))?.at(groups) ?? [];
}

function isPrefixOf(prefix: readonly number[], groups: readonly number[]): boolean {
  return prefix.every((group, index) => group === groups[index]);
}

function lastOf(groups: readonly number[]): string[] {
  return [dotted(groups[6], groups[7])];
}

/** Returns the middle two bytes of two groups. */
function shifted(one: number, other: number): number {
  return ((one & 0xff) << 8) | (other >> 8);
}

function dotted(high = 0, low = 0): string {
  return [high >> 8, high & 0xff, low >> 8, low & 0xff].join('.');
}

/**
 * Upgrades a URL to TLS if a registry with TLS refers to itself without it: a registry behind a proxy that
 * terminates TLS often does not know about it. Other URLs are returned unchanged.
 */
export function withTlsOf(registry: URL, url: URL): URL {
  // An omitted port is that of the scheme, even after a proxy has changed the scheme.
  const port = url.port === '443' ? '' : url.port;
  const isItself = url.hostname === registry.hostname && port === registry.port;
  if (registry.protocol !== 'https:' || url.protocol !== 'http:' || !isItself) return url;
  const upgraded = new URL(url);
  upgraded.protocol = 'https:';
  upgraded.port = registry.port;
  return upgraded;
}

/** Tells whether a registry may direct us to a host: never from the outside to the inside. */
export function mayRedirectTo(registry: URL, target: URL): boolean {
  if (bareHost(registry) === bareHost(target)) return true;
  return classMayRedirectTo(addressClass(registry), addressClass(target));
}

/** Does the same for address classes. */
function classMayRedirectTo(from: AddressClass, to: AddressClass): boolean {
  if (to === 'public') return true;
  return to === from ? to !== 'unspecified' : to === 'private' && from === 'loopback';
}

/** Formats a URL for messages and logs, without queries (which may be signed) and user names. */
export function redactedUrl(url: URL): string {
  return `${url.protocol}//${url.host}${url.pathname}${url.search === '' ? '' : '?…'}`;
}

/** The code of the error for a name that resolves to where a registry must not direct us. */
export const unsafeAddressCode = 'ERR_UNSAFE_ADDRESS';

/**
 * Classes that no public name has a reason to resolve to. Private addresses are left to certificates: see
 * docs/security.md.
 */
const internal: ReadonlySet<AddressClass> = new Set(['loopback', 'link-local', 'unspecified']);

/**
 * Creates a name lookup for hosts other than the registry's own: those that it redirects to, and its token
 * server. It fails for a name that resolves to this machine or to a link-local address (such as a cloud's
 * metadata service), unless the registry's own name does too. Connections go to exactly the addresses that
 * were checked.
 */
export function createCheckedLookup(registryHost: string): LookupFunction {
  const registryClasses = once(() => classesOf(registryHost.replace(/^\[|\]$/g, '')));
  const lookUp = async (hostname: string, options: LookupOptions): Promise<LookupAddress[]> => {
    const found = await lookup(hostname, { ...options, all: true });
    const refused = found.map(({ address }) => classOfAddress(address)).filter((one) => internal.has(one));
    if (refused.length === 0) return found;
    const from = await registryClasses();
    if (refused.every((to) => from.some((one) => classMayRedirectTo(one, to)))) return found;
    throw unsafeAddress(hostname);
  };
  return (hostname, options, callback) => {
    callbackify(lookUp)(hostname, options, (error, found) => {
      if (error !== null) callback(error, '');
      else if (options.all === true) callback(null, found);
      else callback(null, found[0]?.address ?? '', found[0]?.family);
    });
  };
}

/** Returns the classes of the registry's own addresses; none if its name cannot be resolved here. */
async function classesOf(host: string): Promise<readonly AddressClass[]> {
  const found = await lookup(host, { all: true }).catch(() => []);
  return found.map(({ address }) => classOfAddress(address));
}

function unsafeAddress(hostname: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`${hostname} resolves to an address that is not allowed`), {
    code: unsafeAddressCode,
  });
}
