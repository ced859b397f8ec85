import type { HttpRequest } from './transport.ts';

/** One challenge of a WWW-Authenticate header (RFC 9110, section 11.6.1). */
export interface Challenge {
  /** Lower case. */
  readonly scheme: string;
  /** Names in lower case. */
  readonly parameters: ReadonlyMap<string, string>;
}

/** Anything beyond is ignored: no registry needs it. */
const maxHeaderLength = 16 * 1024;

const tokenCharacter = /[!#$%&'*+\-.^_`|~0-9A-Za-z]/;
const token68Character = /[-._~+/0-9A-Za-z]/;

/**
 * Parses all challenges of a header, including several schemes. Never throws: parsing stops at the first
 * syntax error, and the challenges before it are returned.
 */
export function parseChallenges(header: string): Challenge[] {
  const challenges: Challenge[] = [];
  const scanner = new Scanner(header.slice(0, maxHeaderLength));
  let current: { scheme: string; parameters: Map<string, string> } | null = null;
  for (;;) {
    scanner.skipSeparators();
    const word = scanner.takeWhile(tokenCharacter);
    if (word === '') return challenges;
    const parameter: { value: string } | null = current === null ? null : scanner.takeValue();
    if (current !== null && parameter !== null) {
      if (!current.parameters.has(word.toLowerCase()))
        current.parameters.set(word.toLowerCase(), parameter.value);
      continue;
    }
    current = { scheme: word.toLowerCase(), parameters: new Map() };
    challenges.push(current);
    scanner.skipToken68();
  }
}

class Scanner {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  #peek(): string {
    return this.#text.charAt(this.#at);
  }

  takeWhile(pattern: RegExp): string {
    const start = this.#at;
    while (this.#at < this.#text.length && pattern.test(this.#peek())) this.#at++;
    return this.#text.slice(start, this.#at);
  }

  #skipSpace(): void {
    this.takeWhile(/[ \t]/);
  }

  skipSeparators(): void {
    this.takeWhile(/[ \t,]/);
  }

  /** Takes `=value` or `="value"` after a name; null if the name has no value (then it is a scheme). */
  takeValue(): { value: string } | null {
    const start = this.#at;
    this.#skipSpace();
    if (this.#peek() !== '=') {
      this.#at = start;
      return null;
    }
    this.#at++;
    this.#skipSpace();
    // Some registries do not quote values with slashes and colons.
    if (this.#peek() !== '"') return { value: this.takeWhile(/[^\s,"]/) };
    return { value: this.#takeQuoted() };
  }

  #takeQuoted(): string {
    let value = '';
    for (this.#at++; this.#at < this.#text.length; this.#at++) {
      const character = this.#peek();
      if (character === '"') {
        this.#at++;
        return value;
      }
      if (character === '\\') this.#at++;
      value += this.#peek();
    }
    return value;
  }

  /** Skips the opaque token that some schemes (Negotiate, NTLM) have in place of parameters. */
  skipToken68(): void {
    const start = this.#at;
    this.#skipSpace();
    this.takeWhile(token68Character);
    this.takeWhile(/=/);
    const end = this.#at;
    this.#skipSpace();
    const isAlone = this.#at === this.#text.length || this.#peek() === ',';
    if (end === start || !isAlone) this.#at = start;
  }
}

/**
 * Merges scopes so that each resource appears once with all its actions, in order of first appearance (some
 * token servers read only the first scope).
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

/** Returns a key for a set of scopes, regardless of their order. */
export function scopeKey(scopes: readonly string[]): string {
  return mergeScopes(scopes).toSorted().join(' ');
}

/** Tells whether the scopes only ask for read access. */
export function readsOnly(scopes: readonly string[]): boolean {
  return mergeScopes(scopes).every((scope) => scope.endsWith(':pull'));
}

/** Returns the repository in a path of the registry API, or the empty string. */
export function repositoryOf(url: URL): string {
  const match = /^\/v2\/(.+)\/(?:manifests|blobs|tags|referrers)\//.exec(url.pathname);
  return match?.[1] ?? '';
}

/** Returns the scopes that a request needs: those it names, else those implied by its method and path. */
export function scopesOf(request: HttpRequest): string[] {
  if (request.scopes !== undefined) return mergeScopes(request.scopes);
  const repository = repositoryOf(request.url);
  if (repository === '') return [];
  const reads = request.method === 'GET' || request.method === 'HEAD';
  return [
    `repository:${repository}:${reads ? 'pull' : request.method === 'DELETE' ? 'delete' : 'pull,push'}`,
  ];
}
