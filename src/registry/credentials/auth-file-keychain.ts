import { readFile } from 'node:fs/promises';
import type { Logger } from '../../shared/log.ts';
import {
  invalidConfiguration,
  parseAuthConfig,
  type AuthConfig,
  type AuthConfigForm,
} from './auth-config.ts';
import { askHelper } from './helper.ts';
import type { Credential, CredentialTarget, Keychain } from './keychain.ts';
import { bestFirst, helperServer, matchServerKey } from './server-key.ts';

/** What credential helpers run with. */
export interface HelperContext {
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly logger: Logger;
}

export interface AuthFileOptions extends HelperContext {
  readonly path: string;
  /** Whether a missing file is an error. */
  readonly required: boolean;
  readonly form?: AuthConfigForm;
}

/** Failures to read that mean the same as no file, in places where nobody promised one. */
const absent: ReadonlySet<string> = new Set(['ENOENT', 'ENOTDIR', 'EACCES', 'EISDIR']);

/** A keychain of a docker config.json or containers auth.json; the file is read when first asked. */
export function authFileKeychain(options: AuthFileOptions): Keychain {
  let keychain: Promise<Keychain | null> | undefined;
  const read = async (): Promise<Keychain | null> => {
    const text = await readText(options.path, options);
    return text === null
      ? null
      : authConfigKeychain(parseAuthConfig(text, options.path, options.form), options);
  };
  return {
    async resolve(target) {
      keychain ??= read();
      return (await keychain)?.resolve(target) ?? [];
    },
  };
}

/** Reads a file; null when there is none. @throws RegistryError INVALID_CONFIGURATION */
export async function readText(
  path: string,
  { required }: { readonly required: boolean },
): Promise<string | null> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'UNKNOWN';
    if (!required && absent.has(code)) return null;
    throw invalidConfiguration(path, `cannot be read (${code})`);
  }
}

/**
 * A keychain of one auth configuration. Entries come before helpers: images of build systems often carry the
 * name of a helper that is not there. The most specific key wins.
 */
export function authConfigKeychain(config: AuthConfig, context: HelperContext): Keychain {
  const answers = new Map<string, Promise<Credential | null>>();
  const ask = (helper: string, server: string): Promise<Credential | null> => {
    const key = JSON.stringify([helper, server]);
    const answer = answers.get(key) ?? askHelper({ helper, server, source: config.source, ...context });
    answers.set(key, answer);
    return answer;
  };
  return {
    async resolve(target) {
      const [entry] = bestFirst(config.entries, ({ key }) => matchServerKey(key, target));
      if (entry !== undefined) return [entry.credential];
      const helper = helperFor(config, target);
      const credential = helper === null ? null : await ask(helper.name, helper.server);
      return credential === null ? [] : [credential];
    },
  };
}

function helperFor(config: AuthConfig, target: CredentialTarget): { name: string; server: string } | null {
  const [named] = bestFirst(config.helpers, ({ key }) => matchServerKey(key, target));
  // An empty name switches the store off for one registry.
  if (named !== undefined) return named.helper === '' ? null : { name: named.helper, server: named.server };
  return config.store === null ? null : { name: config.store, server: helperServer(target.registry) };
}
