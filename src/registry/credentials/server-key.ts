import { dockerHub } from '../model/reference.ts';
import type { CredentialTarget } from './keychain.ts';

/** A parsed key of an auth file: the registry, and the part of it, that it applies to. */
export interface ServerKey {
  /** Host and port, in lower case, with Docker Hub's names folded into one. */
  readonly host: string;
  readonly path: readonly string[];
}

/** The names of Docker Hub in auth files. */
const dockerHubNames: ReadonlySet<string> = new Set([
  'docker.io',
  'index.docker.io',
  'registry-1.docker.io',
  'registry.hub.docker.com',
]);

/** The server URL that docker passes to a credential helper for Docker Hub. */
const dockerHubServer = 'https://index.docker.io/v1/';

/** Parses a key: `host`, `host/namespace`, or a URL as written by docker login. */
export function parseServerKey(key: string): ServerKey {
  const bare = key.trim().replace(/^https?:\/\//i, '');
  const [host = '', ...path] = bare.split('/').filter((part, index) => index === 0 || part !== '');
  // The version of the API is not a namespace.
  if (path[0] === 'v1' || path[0] === 'v2') path.shift();
  return { host: foldHost(host), path };
}

function foldHost(host: string): string {
  const name = host.toLowerCase();
  return dockerHubNames.has(name) ? dockerHub : name;
}

/**
 * Scores how well a key matches a target: the number of its path segments, or null if it does not match. With
 * `globs`, labels of its host may contain `*` and `?`, as in Kubernetes pull secrets.
 */
export function matchServerKey(
  key: ServerKey,
  target: CredentialTarget,
  { globs = false }: { readonly globs?: boolean } = {},
): number | null {
  const host = foldHost(target.registry);
  if (key.host !== host && !(globs && matchesHost(key.host, host))) return null;
  const path = target.repository.split('/');
  return key.path.every((part, index) => part === path[index]) ? key.path.length : null;
}

/** Matches label by label; the number of labels and the port must be the same. */
function matchesHost(pattern: string, host: string): boolean {
  const [patternName = '', patternPort = ''] = splitPort(pattern);
  const [name = '', port = ''] = splitPort(host);
  const patternLabels = patternName.split('.');
  const labels = name.split('.');
  return (
    patternPort === port &&
    patternLabels.length === labels.length &&
    patternLabels.every((label, index) => matchesLabel(label, labels[index] ?? ''))
  );
}

function splitPort(host: string): string[] {
  const colon = host.startsWith('[') ? host.indexOf(':', host.indexOf(']')) : host.indexOf(':');
  return colon === -1 ? [host, ''] : [host.slice(0, colon), host.slice(colon + 1)];
}

/**
 * Matches a glob against one label. Greedy with a single backtracking point, so that no pattern takes
 * exponential time.
 */
function matchesLabel(pattern: string, label: string): boolean {
  let [at, star, starAt] = [0, -1, 0];
  let p = 0;
  while (at < label.length) {
    if (pattern[p] === '*') {
      [star, starAt] = [p++, at];
    } else if (p < pattern.length && (pattern[p] === '?' || pattern[p] === label[at])) {
      p++;
      at++;
    } else if (star !== -1) {
      p = star + 1;
      at = ++starAt;
    } else {
      return false;
    }
  }
  return pattern.slice(p).replaceAll('*', '') === '';
}

/** Returns the server to pass to a credential helper if the configuration has no key for the registry. */
export function helperServer(registry: string): string {
  return foldHost(registry) === dockerHub ? dockerHubServer : registry;
}

/** Sorts matches, the longest path first; equal ones keep the order of the file. */
export function bestFirst<T>(items: readonly T[], scoreOf: (item: T) => number | null): T[] {
  return items
    .map((item) => ({ item, score: scoreOf(item) }))
    .filter((entry): entry is { item: T; score: number } => entry.score !== null)
    .toSorted((a, b) => b.score - a.score)
    .map(({ item }) => item);
}
