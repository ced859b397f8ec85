import { BlockList, isIP } from 'node:net';
import { RegistryError } from '../model/errors.ts';
import { addressClass, bareHost, plainAddress } from './address.ts';

/** Where proxy settings are read from. */
export type ProxyEnvironment = Readonly<Record<string, string | undefined>>;

/**
 * Returns the proxy for a URL, or null for none. The variables have the same meaning as for Go programs
 * (skopeo, docker, kubelet), curl and OpenShift's cluster proxy: HTTPS_PROXY or HTTP_PROXY by the URL's
 * scheme, upper case before lower case, `http://` if the scheme is missing; no proxy for this machine and
 * what NO_PROXY lists.
 * @throws RegistryError INVALID_CONFIGURATION for a proxy that is not an HTTP proxy
 */
export function proxyFor(url: URL, environment: ProxyEnvironment): URL | null {
  const variable = url.protocol === 'https:' ? 'HTTPS_PROXY' : 'HTTP_PROXY';
  const text = read(environment, variable);
  if (text === '' || addressClass(url) === 'loopback') return null;
  if (isExcepted(url, read(environment, 'NO_PROXY'))) return null;
  return parseProxy(text, variable);
}

function read(environment: ProxyEnvironment, name: string): string {
  return (environment[name] || environment[name.toLowerCase()] || '').trim();
}

function parseProxy(text: string, variable: string): URL {
  const hasScheme = /^[a-z][a-z0-9+.-]*:\/\//i.test(text);
  const url = URL.parse(hasScheme ? text : `http://${text}`);
  // The value may contain a password: only the scheme is quoted.
  if (url === null || url.hostname === '') throw refused(variable, 'is not the URL of a proxy');
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw refused(variable, `names a ${url.protocol.slice(0, -1)} proxy, which is not supported`);
  }
  return url;
}

function refused(variable: string, problem: string): RegistryError {
  return new RegistryError({
    code: 'INVALID_CONFIGURATION',
    message: `${variable} ${problem}`,
    hint: `Set ${variable} to an HTTP proxy such as http://proxy.example:3128, or name the registry in NO_PROXY.`,
    facts: { variable },
  });
}

/** Tells whether NO_PROXY (golang.org/x/net/http/httpproxy, type Config) covers the host of a URL. */
function isExcepted(url: URL, list: string): boolean {
  const host = bareHost(url).toLowerCase().replace(/\.$/, '');
  const target = { host, address: plainAddress(host), port: url.port || defaultPort(url) };
  return list
    .toLowerCase()
    .split(/[\s,]+/)
    .some((entry) => entry !== '' && (entry === '*' || matches(entry, target)));
}

function defaultPort({ protocol }: URL): string {
  return protocol === 'https:' ? '443' : '80';
}

interface ProxyTarget {
  readonly host: string;
  /** The host if it is an address, an IPv4-mapped one as IPv4. */
  readonly address: string | null;
  readonly port: string;
}

function matches(entry: string, { host, address, port }: ProxyTarget): boolean {
  const range = /^(?<network>[0-9a-f.:]+)\/(?<prefix>\d{1,3})$/.exec(entry)?.groups;
  if (range !== undefined) return address !== null && inRange(address, range['network'], range['prefix']);
  const [name, listedPort] = splitPort(entry);
  if (listedPort !== '' && listedPort !== port) return false;
  const listed = plainAddress(name);
  if (listed !== null) return listed === address;
  if (name === '' || address !== null) return false;
  const domain = name.startsWith('*.') ? name.slice(1) : name;
  // With a leading dot, a domain stands for its subdomains but not itself.
  return domain.startsWith('.') ? host.endsWith(domain) : host === domain || host.endsWith(`.${domain}`);
}

/** Splits `host:port`; an IPv6 address can only have a port after brackets. */
function splitPort(entry: string): [string, string] {
  const bracketed = /^\[(?<name>[^\]]*)\](?::(?<port>\d+))?$/.exec(entry)?.groups;
  if (bracketed !== undefined) return [bracketed['name'] ?? '', bracketed['port'] ?? ''];
  if (isIP(entry) === 6) return [entry, ''];
  const colon = entry.lastIndexOf(':');
  return colon === -1 ? [entry, ''] : [entry.slice(0, colon), entry.slice(colon + 1)];
}

function inRange(address: string, network = '', prefix = ''): boolean {
  const family = isIP(network) === 6 ? 'ipv6' : 'ipv4';
  if (isIP(network) === 0 || Number(prefix) > (family === 'ipv6' ? 128 : 32)) return false;
  if ((isIP(address) === 6) !== (family === 'ipv6')) return false;
  const list = new BlockList();
  list.addSubnet(network, Number(prefix), family);
  return list.check(address, family);
}
