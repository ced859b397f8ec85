import type { HttpRequest } from './transport.ts';

/**
 * Merges scopes so that each resource appears once with all its actions, in the order of first appearance
 * (some token servers read the first scope only).
 */
export function mergeScopes(scopes: readonly string[]): string[] {
  const actions = new Map<string, Set<string>>();
  for (const scope of scopes.flatMap((text) => text.split(/\s+/)).filter((text) => text !== '')) {
    const colon = scope.lastIndexOf(':');
    const resource = colon === -1 ? scope : scope.slice(0, colon);
    const known = actions.get(resource) ?? new Set();
    for (const action of colon === -1 ? [] : scope.slice(colon + 1).split(',')) known.add(action);
    actions.set(resource, known);
  }
  return [...actions].map(([resource, set]) =>
    set.size === 0 ? resource : `${resource}:${[...set].toSorted().join(',')}`,
  );
}

/** A name for a set of scopes, whatever their order. */
export function scopeKey(scopes: readonly string[]): string {
  return mergeScopes(scopes).toSorted().join(' ');
}

/** Tells whether the scopes ask for nothing but to read. */
export function readsOnly(scopes: readonly string[]): boolean {
  return mergeScopes(scopes).every((scope) => scope.endsWith(':pull'));
}

/** The repository in a path of the registry API, or the empty string. */
export function repositoryOf(url: URL): string {
  const match = /^\/v2\/(.+)\/(?:manifests|blobs|tags|referrers)\//.exec(url.pathname);
  return match?.[1] ?? '';
}

/** The scopes that a request needs: those it names, else those that its method and path tell. */
export function scopesOf(request: HttpRequest): string[] {
  if (request.scopes !== undefined) return mergeScopes(request.scopes);
  const repository = repositoryOf(request.url);
  if (repository === '') return [];
  const reads = request.method === 'GET' || request.method === 'HEAD';
  return [
    `repository:${repository}:${reads ? 'pull' : request.method === 'DELETE' ? 'delete' : 'pull,push'}`,
  ];
}
