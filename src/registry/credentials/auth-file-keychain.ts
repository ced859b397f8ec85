import { readFile } from 'node:fs/promises';
import { abortable } from '../../shared/abortable.ts';
import { Flights, once } from '../../shared/flights.ts';
import { LruMap } from '../../shared/lru.ts';
import {
  invalidConfiguration,
  parseAuthConfig,
  type AuthConfig,
  type AuthConfigForm,
} from './auth-config.ts';
import { type HelperCall, type HelperContext, queryHelper } from './helper.ts';
import type { Credential, CredentialTarget, Keychain } from './keychain.ts';
import { bestFirst, helperServer, matchServerKey } from './server-key.ts';

/** Whether an unreadable file is an error; with `if-exists` it is, but a missing one is only a warning. */
type FileRequirement = boolean | 'if-exists';

/** The most responses of helpers to cache. */
const maxResponses = 1000;

/** Read errors that count as no file in the default locations. */
const absent: ReadonlySet<string> = new Set(['ENOENT', 'ENOTDIR', 'EACCES', 'EISDIR']);

const missing: ReadonlySet<string> = new Set(['ENOENT', 'ENOTDIR']);

/** Creates a keychain from a docker config.json or containers auth.json; the file is read on first use. */
export function authFileKeychain(
  path: string,
  required: FileRequirement,
  context: HelperContext,
  form?: AuthConfigForm,
): Keychain {
  const keychain = once(async (): Promise<Keychain | null> => {
    const text = await readText(path, required);
    if (text !== null) return authConfigKeychain(parseAuthConfig(text, path, form), context);
    if (required === 'if-exists')
      context.logger.warn('The auth file does not exist; other credential sources are used', { file: path });
    return null;
  });
  return {
    async resolve(target, { signal } = {}) {
      return (await abortable(keychain(), signal))?.resolve(target, { signal }) ?? [];
    },
  };
}

/** Reads a file; null if it does not exist. @throws RegistryError INVALID_CONFIGURATION */
export async function readText(path: string, required: FileRequirement): Promise<string | null> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'UNKNOWN';
    if (required === 'if-exists' ? missing.has(code) : !required && absent.has(code)) return null;
    throw invalidConfiguration(path, `cannot be read (${code})`);
  }
}

/**
 * Creates a keychain from one auth configuration. Entries take precedence over helpers: the images of build
 * systems often name a helper that is not installed. The most specific key wins.
 */
export function authConfigKeychain(config: AuthConfig, context: HelperContext): Keychain {
  const responses = new LruMap<{ readonly credential: Credential | null }>(maxResponses);
  const flights = new Flights<Credential | null>();
  const query = async (call: HelperCall, signal: AbortSignal | undefined): Promise<Credential | null> => {
    const key = JSON.stringify([call.helper, call.server]);
    const known = responses.get(key);
    if (known !== undefined) return known.credential;
    return flights.join(key, signal, async (flight) => {
      const credential = await queryHelper(call, context, flight.signal);
      responses.set(key, { credential });
      return credential;
    });
  };
  return {
    async resolve(target, { signal } = {}) {
      const [entry] = bestFirst(config.entries, ({ key }) => matchServerKey(key, target));
      if (entry !== undefined) return [entry.credential];
      const helper = helperFor(config, target);
      const credential = helper === null ? null : await query(helper, signal);
      return credential === null ? [] : [credential];
    },
  };
}

function helperFor({ helpers, store, source }: AuthConfig, target: CredentialTarget): HelperCall | null {
  const [named] = bestFirst(helpers, ({ key }) => matchServerKey(key, target));
  // An empty name disables the store for one registry.
  if (named !== undefined)
    return named.helper === '' ? null : { helper: named.helper, server: named.server, source };
  return store === null ? null : { helper: store, server: helperServer(target.registry), source };
}
