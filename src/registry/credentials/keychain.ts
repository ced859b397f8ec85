import type { Secret } from '../../shared/secret.ts';

/** What a credential is needed for. */
export interface CredentialTarget {
  /** As in a reference: `docker.io`, `registry.example:5000`. */
  readonly registry: string;
  /** Empty for the registry as a whole. */
  readonly repository: string;
}

/** A credential. The source is for people: a file or variable, and the key in it. */
export interface Credential {
  readonly source: string;
  readonly username?: string | undefined;
  readonly password?: Secret<string> | undefined;
  /** A refresh token, exchanged at the token server by POST. */
  readonly identityToken?: Secret<string> | undefined;
  /** Sent to the registry unchanged as a Bearer token. */
  readonly registryToken?: Secret<string> | undefined;
}

/** Characters of a user name that are quoted. */
const maxShownUsername = 100;

/**
 * Names a credential in messages, by user name and source: `the user name "alice" from auth.json
 * (registry.example)`.
 */
export function describeCredential({ source, username, registryToken, identityToken }: Credential): string {
  if (username !== undefined)
    return `the user name ${JSON.stringify(username.slice(0, maxShownUsername))} from ${source}`;
  if (registryToken !== undefined) return `the registry token from ${source}`;
  return `the ${identityToken === undefined ? 'password' : 'identity token'} from ${source}`;
}

/** Options of a credential lookup. */
export interface KeychainOptions {
  /** Ends the lookup, and the helper program that it waits for. */
  readonly signal?: AbortSignal | undefined;
}

/** Looks up credentials. The best candidate comes first; an empty list means anonymous. */
export interface Keychain {
  /** @throws RegistryError INVALID_CONFIGURATION, or the signal's reason */
  resolve(target: CredentialTarget, options?: KeychainOptions): Promise<readonly Credential[]>;
}

/** Contains no credentials. */
export const anonymousKeychain: Keychain = { resolve: () => Promise.resolve([]) };

/** Queries each keychain in turn and returns the candidates of the first that has any. */
export function firstOf(keychains: readonly Keychain[]): Keychain {
  return {
    async resolve(target, options) {
      for (const keychain of keychains) {
        const found = await keychain.resolve(target, options);
        if (found.length > 0) return found;
      }
      return [];
    },
  };
}

/** Always returns this credential. */
export function fixedKeychain(credential: Credential): Keychain {
  return { resolve: () => Promise.resolve([credential]) };
}
