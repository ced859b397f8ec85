import { Flights } from '../../shared/flights.ts';
import type { Logger } from '../../shared/logger.ts';
import { LruMap } from '../../shared/lru.ts';
import { Secret } from '../../shared/secret.ts';
import { type Credential, describeCredential, type Keychain } from '../credentials/keychain.ts';
import { RegistryError } from '../model/errors.ts';
import { type Challenge, readsOnly, scopeKey } from './challenge.ts';
import { resolveRealm } from './redirects.ts';
import { TokenCache, basicAuthorization, fetchToken, type Token } from './token.ts';
import type { Transport } from './transport.ts';

export interface AuthorizerOptions {
  /** As in references; credentials are looked up by it. */
  readonly registry: string;
  /** Returns the registry's current origin. */
  readonly origin: () => URL;
  readonly keychain: Keychain;
  /** Token servers that may be sent credentials without TLS. */
  readonly plainHttpTokenServers: readonly string[];
  readonly logger: Logger;
  readonly now: () => number;
}

/** A challenge and where it came from. */
export interface ChallengeContext {
  readonly challenge: Challenge;
  /** The URL that the challenge came from. */
  readonly url: URL;
}

export interface AuthorizationRequest {
  readonly context: ChallengeContext;
  readonly repository: string;
  readonly scopes: readonly string[];
  readonly signal: AbortSignal | undefined;
  /** Keys of the authorizations already tried for this request. */
  readonly tried: Set<string>;
  /** The authorization that was just refused. */
  readonly refused: Authorization | null;
}

/** A value for the Authorization header. */
export interface Authorization {
  readonly header: Secret<string>;
  readonly candidate: Credential | null;
  readonly key: string;
  readonly token: Token | null;
}

/** The most repositories of a registry whose credentials are cached. */
const maxRepositories = 1000;

/** Turns challenges into Authorization headers, using the credentials of a keychain. */
export class Authorizer {
  readonly #send: Transport;
  readonly #options: AuthorizerOptions;
  readonly #tokens: TokenCache;
  readonly #credentials = new LruMap<readonly Credential[]>(maxRepositories);
  readonly #lookups = new Flights<readonly Credential[]>();
  readonly #accepted = new LruMap<{ readonly candidate: Credential | null }>(maxRepositories);
  readonly #rejected = new LruMap<ReadonlySet<Credential>>(maxRepositories);
  readonly #refreshTokens = new WeakMap<Credential, Secret<string>>();
  readonly #warnedRepositories = new LruMap<true>(maxRepositories);

  /** @param send sends requests to token servers */
  constructor(send: Transport, options: AuthorizerOptions) {
    this.#send = send;
    this.#options = options;
    this.#tokens = new TokenCache(options.now);
  }

  /** Records that a credential was accepted for a repository: from now on, it is tried first. */
  accept(repository: string, { candidate }: Authorization): void {
    this.#accepted.set(repository, { candidate });
  }

  /** Records that a credential was refused for a repository. */
  reject(repository: string, candidate: Credential): void {
    this.#rejected.set(repository, new Set([...this.rejected(repository), candidate]));
  }

  /** Returns the credentials refused for a repository so far. */
  rejected(repository: string): readonly Credential[] {
    return [...(this.#rejected.get(repository) ?? [])];
  }

  /**
   * Returns the next authorization to try, or null if all have been tried.
   * @throws RegistryError UNAUTHORIZED if the token server refused all, UNSAFE_REDIRECT, NETWORK
   */
  async authorize(request: AuthorizationRequest): Promise<Authorization | null> {
    const found = await this.#resolve(request);
    const isBearer = request.context.challenge.scheme === 'bearer';
    const rejected: Credential[] = [];
    for (const candidate of this.#candidates(found, request, isBearer)) {
      const key = this.#key(request, isBearer, candidate === null ? -1 : found.indexOf(candidate));
      if (request.tried.has(key)) continue;
      request.tried.add(key);
      const authorization = await this.#try(request, candidate, key);
      if (authorization !== null) {
        if (candidate === null && found.length > 0) this.#warnAnonymous(request.repository, found);
        return authorization;
      }
      if (candidate === null) continue;
      rejected.push(candidate);
      this.reject(request.repository, candidate);
    }
    if (rejected.length > 0) throw this.#refusedByTokenServer(request, rejected);
    return null;
  }

  async #resolve({ repository, signal }: AuthorizationRequest): Promise<readonly Credential[]> {
    const known = this.#credentials.get(repository);
    if (known !== undefined) return known;
    const { keychain, registry, logger } = this.#options;
    return this.#lookups.join(repository, signal, async (flight) => {
      const found = await keychain.resolve({ registry, repository }, { signal: flight.signal });
      this.#credentials.set(repository, found);
      const fields = { registry, repository };
      if (found.length === 0) logger.debug('No credentials found, continuing anonymously', fields);
      else logger.debug('Credentials found', { ...fields, credentials: found.map(describeCredential) });
      return found;
    });
  }

  /**
   * Returns the order to try: the credential that worked before, then the keychain's order, then anonymous if
   * the request only reads.
   */
  #candidates(
    found: readonly Credential[],
    request: AuthorizationRequest,
    isBearer: boolean,
  ): (Credential | null)[] {
    const usable = found.filter(
      (candidate) => isBearer || candidate.registryToken !== undefined || candidate.password !== undefined,
    );
    const anonymous = isBearer && (found.length === 0 || readsOnly(request.scopes)) ? [null] : [];
    const all = [...usable, ...anonymous];
    const accepted = this.#accepted.get(request.repository)?.candidate;
    if (accepted === undefined || !all.includes(accepted)) return all;
    return [accepted, ...all.filter((candidate) => candidate !== accepted)];
  }

  #key({ context, repository, scopes }: AuthorizationRequest, isBearer: boolean, index: number): string {
    const { parameters } = context.challenge;
    const server = isBearer ? [parameters.get('realm'), parameters.get('service'), scopeKey(scopes)] : [];
    return JSON.stringify([repository, index, ...server]);
  }

  async #try(
    request: AuthorizationRequest,
    candidate: Credential | null,
    key: string,
  ): Promise<Authorization | null> {
    if (candidate?.registryToken !== undefined) {
      return { header: bearer(candidate.registryToken), candidate, key, token: null };
    }
    if (request.context.challenge.scheme === 'basic') {
      const header = candidate === null ? null : basicAuthorization(candidate);
      return header === null ? null : { header: new Secret(header), candidate, key, token: null };
    }
    const { refused } = request;
    if (refused?.key === key && refused.token !== null) this.#tokens.drop(key, refused.token);
    const token = await this.#tokens.obtain(
      key,
      (signal) => this.#fetch(request, candidate, signal),
      request.signal,
    );
    return token === null ? null : { header: bearer(token.value), candidate, key, token };
  }

  async #fetch(
    { context, scopes }: AuthorizationRequest,
    candidate: Credential | null,
    signal: AbortSignal,
  ): Promise<Token | null> {
    const { parameters } = context.challenge;
    const identityToken =
      candidate === null ? undefined : (this.#refreshTokens.get(candidate) ?? candidate.identityToken);
    const token = await fetchToken(
      this.#send,
      {
        realm: resolveRealm(parameters.get('realm') ?? '', context.url, {
          registry: this.#options.origin(),
          sendsCredentials: candidate !== null,
          plainHttpTokenServers: this.#options.plainHttpTokenServers,
        }),
        service: parameters.get('service'),
        scopes,
        credential: candidate === null ? null : { ...candidate, identityToken },
        signal,
      },
      this.#options.now,
    );
    if (candidate !== null && token?.refreshToken !== undefined && candidate.identityToken !== undefined) {
      this.#refreshTokens.set(candidate, token.refreshToken);
    }
    return token;
  }

  #warnAnonymous(repository: string, found: readonly Credential[]): void {
    if (this.#warnedRepositories.get(repository) === true) return;
    this.#warnedRepositories.set(repository, true);
    this.#options.logger.warn('The credentials were refused, reading anonymously', {
      registry: this.#options.registry,
      repository,
      credentials: found.map(describeCredential),
    });
  }

  #refusedByTokenServer(
    { repository, context }: AuthorizationRequest,
    rejected: readonly Credential[],
  ): RegistryError {
    const { registry } = this.#options;
    const credentials = rejected.map(describeCredential);
    return new RegistryError({
      code: 'UNAUTHORIZED',
      message: `The token server of ${registry} refused ${credentials.join(' and ')} for ${repository === '' ? registry : `${registry}/${repository}`}`,
      hint: 'Check these credentials, or log in again.',
      facts: {
        registry,
        repository,
        sources: rejected.map(({ source }) => source),
        credentials,
        url: `${context.url.protocol}//${context.url.host}`,
      },
    });
  }
}

function bearer(token: Secret<string>): Secret<string> {
  return new Secret(`Bearer ${token.reveal()}`);
}
