import * as z from 'zod/mini';
import { parseJson } from '../../shared/json.ts';
import { Secret } from '../../shared/secret.ts';
import { RegistryError } from '../model/errors.ts';
import type { Credential } from './keychain.ts';
import { parseServerKey, type ServerKey } from './server-key.ts';

/** An entry of `auths`. */
interface AuthEntry {
  readonly key: ServerKey;
  readonly credential: Credential;
}

/** An entry of `credHelpers`. */
interface HelperEntry {
  /** The key as written, which is passed to the helper. */
  readonly server: string;
  readonly key: ServerKey;
  readonly helper: string;
}

/** A docker config.json, containers auth.json or pull secret. */
export interface AuthConfig {
  /** The file or variable that it was read from. */
  readonly source: string;
  readonly entries: readonly AuthEntry[];
  readonly helpers: readonly HelperEntry[];
  readonly store: string | null;
}

/** The two formats of such files: with `auths`, or (dockercfg) just the entries. */
export type AuthConfigForm = 'config' | 'dockercfg';

const text = z.optional(z.nullable(z.string()));
const entrySchema = z.object({
  auth: text,
  username: text,
  password: text,
  identitytoken: text,
  registrytoken: text,
});
const entriesSchema = z.record(z.string(), entrySchema);
const configSchema = z.object({
  auths: z.optional(z.nullable(entriesSchema)),
  credHelpers: z.optional(z.nullable(z.record(z.string(), z.string()))),
  credsStore: text,
});

/**
 * Parses the text of an auth file.
 * @throws RegistryError INVALID_CONFIGURATION that names the source, never its contents
 */
export function parseAuthConfig(json: string, source: string, form: AuthConfigForm = 'config'): AuthConfig {
  const value = parseJson(json);
  if (value === undefined) throw invalidConfiguration(source, 'is not JSON');
  return authConfigOf(value, source, form);
}

/** Reads an auth file from parsed JSON. @throws RegistryError INVALID_CONFIGURATION */
function authConfigOf(value: unknown, source: string, form: AuthConfigForm = 'config'): AuthConfig {
  const parsed = configSchema.safeParse(form === 'config' ? value : { auths: value });
  if (!parsed.success) {
    const path = parsed.error.issues[0]?.path.map(String).join('.') ?? '';
    throw invalidConfiguration(
      source,
      `does not have the form of an auth file${path === '' ? '' : ` (at ${path})`}`,
    );
  }
  const { auths, credHelpers, credsStore } = parsed.data;
  return {
    source,
    entries: Object.entries(auths ?? {}).flatMap(([key, entry]) => entryOf(key, entry, source)),
    helpers: Object.entries(credHelpers ?? {}).map(([server, helper]) => ({
      server,
      key: parseServerKey(server),
      helper,
    })),
    store: credsStore ? credsStore : null,
  };
}

type RawEntry = z.infer<typeof entrySchema>;

/** Reads an entry. Docker leaves entries without any credential behind; they are ignored. */
function entryOf(key: string, raw: RawEntry, source: string): AuthEntry[] {
  const decoded = raw.auth
    ? decodeAuth(raw.auth, key, source)
    : { username: raw.username ?? '', password: raw.password ?? '' };
  const credential: Credential = {
    source: `${source} (${key})`,
    ...(decoded.username === '' ? {} : { username: decoded.username }),
    ...(decoded.password === '' ? {} : { password: new Secret(decoded.password) }),
    ...(raw.identitytoken ? { identityToken: new Secret(raw.identitytoken) } : {}),
    ...(raw.registrytoken ? { registryToken: new Secret(raw.registrytoken) } : {}),
  };
  const { password, identityToken, registryToken } = credential;
  const isUsable = password !== undefined || identityToken !== undefined || registryToken !== undefined;
  return isUsable ? [{ key: parseServerKey(key), credential }] : [];
}

/** Decodes `auth`, which is user name and password in base64; some writers pad it with NUL bytes. */
function decodeAuth(auth: string, key: string, source: string): { username: string; password: string } {
  const decoded = Buffer.from(auth, 'base64').toString('utf8').replace(/\0+$/, '');
  const colon = decoded.indexOf(':');
  if (colon === -1)
    throw invalidConfiguration(source, `has an "auth" for ${key} that is not base64 of user:password`);
  return { username: decoded.slice(0, colon), password: decoded.slice(colon + 1) };
}

/** Builds the error for an invalid auth file. */
export function invalidConfiguration(source: string, problem: string): RegistryError {
  return new RegistryError({
    code: 'INVALID_CONFIGURATION',
    message: `${source} ${problem}`,
    hint: 'Create it again, for example with "docker login" or "podman login".',
    facts: { path: source },
  });
}
