import { LruMap } from '../../shared/lru.ts';
import { describeCredential } from '../credentials/keychain.ts';
import {
  type Authorization,
  Authorizer,
  type AuthorizerOptions,
  type ChallengeContext,
} from './authorizer.ts';
import { mergeScopes, parseChallenges, repositoryOf, scopeKey, scopesOf } from './challenge.ts';
import { discardBody } from './response-body.ts';
import type { HttpRequest, HttpResponse, Transport } from './transport.ts';
import { withoutCredentials } from './redirects.ts';

/** The most responses to challenges of one request: each credential once, and once more for a missing scope. */
const maxRounds = 8;

/** The most challenges of a registry to remember, by repository and by scopes. */
const maxChallenges = 1000;

/**
 * Responds to the challenges of the registry, and of no other server. What a challenge requires is sent with later
 * requests from the start.
 */
export function withAuthentication(inner: Transport, options: AuthorizerOptions): Transport {
  const session = new Session(inner, options);
  return (request) => session.send(request);
}

class Session {
  readonly #inner: Transport;
  readonly #origin: () => URL;
  readonly #authorizer: Authorizer;
  /** The last challenge, by repository; '*' is the registry's latest. */
  readonly #challenges = new LruMap<ChallengeContext>(maxChallenges);
  /** The scopes that challenges added to those of the requests. */
  readonly #requiredScopes = new LruMap<readonly string[]>(maxChallenges);

  constructor(inner: Transport, options: AuthorizerOptions) {
    this.#inner = inner;
    this.#origin = options.origin;
    this.#authorizer = new Authorizer(inner, options);
  }

  async send(request: HttpRequest): Promise<HttpResponse> {
    if (request.url.origin !== this.#origin().origin) return this.#inner(withAuthorization(request, null));
    const repository = repositoryOf(request.url);
    const tried = new Set<string>();
    let used = await this.#authorizeEarly(request, repository);
    let response = await this.#inner(withAuthorization(request, used));
    for (let round = 0; round < maxRounds && this.#isChallenge(response); round++) {
      const next = await this.#respond(request, response, tried, used);
      if (used?.candidate) this.#authorizer.reject(repository, used.candidate);
      if (next === null) break;
      await discardBody(response);
      used = next;
      response = await this.#inner(withAuthorization(request, used));
    }
    if (used !== null && response.status !== 401) this.#authorizer.accept(repository, used);
    return { ...response, credentials: this.#credentialsOf(response, repository, used) };
  }

  /** Returns the credentials that were refused. */
  #credentialsOf(
    response: HttpResponse,
    repository: string,
    used: Authorization | null,
  ): readonly string[] | undefined {
    if (this.#isChallenge(response)) return this.#authorizer.rejected(repository).map(describeCredential);
    return response.status === 403 && used?.candidate ? [describeCredential(used.candidate)] : undefined;
  }

  /**
   * Tells whether the registry itself sent a challenge. A 401 after a redirect to another host is that
   * host's, and is left alone.
   */
  #isChallenge(response: HttpResponse): boolean {
    return response.status === 401 && response.url.origin === this.#origin().origin;
  }

  async #authorizeEarly(request: HttpRequest, repository: string): Promise<Authorization | null> {
    const context = this.#challenges.get(repository) ?? this.#challenges.get('*');
    if (context === undefined) return null;
    const requested = scopesOf(request);
    const scopes = this.#requiredScopes.get(scopeKey(requested)) ?? requested;
    const { signal } = request;
    return this.#authorizer.authorize({
      context,
      repository,
      scopes,
      signal,
      tried: new Set(),
      refused: null,
    });
  }

  /** Returns the authorization to respond to a challenge with; null if there is none left to try. */
  async #respond(
    request: HttpRequest,
    response: HttpResponse,
    tried: Set<string>,
    refused: Authorization | null,
  ): Promise<Authorization | null> {
    const repository = repositoryOf(request.url);
    const challenge = preferredChallenge(response.headers['www-authenticate'] ?? '');
    if (challenge === undefined) return null;
    const context = { challenge, url: response.url };
    this.#challenges.set(repository, context);
    this.#challenges.set('*', context);
    const requested = scopesOf(request);
    // The scope of the challenge comes first: some token servers read no further.
    const scopes = mergeScopes([
      challenge.parameters.get('scope') ?? '',
      ...(this.#requiredScopes.get(scopeKey(requested)) ?? requested),
    ]);
    this.#requiredScopes.set(scopeKey(requested), scopes);
    try {
      return await this.#authorizer.authorize({
        context,
        repository,
        scopes,
        signal: request.signal,
        tried,
        refused,
      });
    } catch (error) {
      response.body.destroy();
      throw error;
    }
  }
}

/** Prefers Bearer to Basic, whatever the order: it does not send the password to the registry. */
function preferredChallenge(header: string): ChallengeContext['challenge'] | undefined {
  const challenges = parseChallenges(header);
  return (
    challenges.find(({ scheme }) => scheme === 'bearer') ??
    challenges.find(({ scheme }) => scheme === 'basic')
  );
}

function withAuthorization(request: HttpRequest, authorization: Authorization | null): HttpRequest {
  const headers = withoutCredentials(request.headers ?? {});
  if (authorization !== null) headers.authorization = authorization.header.reveal();
  return { ...request, headers };
}
