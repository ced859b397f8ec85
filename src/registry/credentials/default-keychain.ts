import { join } from 'node:path';
import type { Secret } from '../../shared/secret.ts';
import { parseAuthConfig } from './auth-config.ts';
import { authConfigKeychain, authFileKeychain } from './auth-file-keychain.ts';
import type { HelperContext } from './helper.ts';
import { anonymousKeychain, firstOf, fixedKeychain, type Keychain } from './keychain.ts';
import { pullSecretKeychain } from './pull-secret.ts';

/** Where credentials for a registry come from. */
export interface CredentialSource {
  /** An auth file that is read before the usual ones; it must exist. */
  readonly authfile?: string | undefined;
  /** An explicit user name and password; takes precedence over everything else. */
  readonly explicit?: { readonly username: string; readonly password: Secret<string> } | undefined;
  /** Files that contain Kubernetes pull secrets: `.dockerconfigjson` or `.dockercfg`. */
  readonly pullSecrets?: readonly string[] | undefined;
  /** Look up and send no credentials. @default false */
  readonly anonymous?: boolean | undefined;
}

/**
 * Creates the default keychain. The first source that knows the registry is used: options (user name and
 * password, auth file, pull secrets), REGISTRY_AUTH_FILE, DOCKER_AUTH_CONFIG, DOCKER_CONFIG, the containers
 * auth.json, ~/.docker/config.json, ~/.dockercfg. Files are read on first use.
 */
export function createDefaultKeychain(
  source: CredentialSource,
  homeDirectory: string,
  context: HelperContext,
): Keychain {
  if (source.anonymous === true) return anonymousKeychain;
  const env = context.environment;
  const file = (path: string): Keychain => authFileKeychain(path, false, context);
  const requiredFile = (path: string): Keychain => authFileKeychain(path, true, context);
  return firstOf([
    ...optionKeychains(source, requiredFile),
    ...(env.REGISTRY_AUTH_FILE ? [authFileKeychain(env.REGISTRY_AUTH_FILE, 'if-exists', context)] : []),
    ...(env.DOCKER_AUTH_CONFIG ? [inlineKeychain(env.DOCKER_AUTH_CONFIG, context)] : []),
    ...(env.DOCKER_CONFIG ? [file(join(env.DOCKER_CONFIG, 'config.json'))] : []),
    ...(env.XDG_RUNTIME_DIR ? [file(join(env.XDG_RUNTIME_DIR, 'containers/auth.json'))] : []),
    file(join(env.XDG_CONFIG_HOME || join(homeDirectory, '.config'), 'containers/auth.json')),
    ...(env.DOCKER_CONFIG ? [] : [file(join(homeDirectory, '.docker/config.json'))]),
    authFileKeychain(join(homeDirectory, '.dockercfg'), false, context, 'dockercfg'),
  ]);
}

function optionKeychains(
  { explicit, authfile, pullSecrets = [] }: CredentialSource,
  requiredFile: (path: string) => Keychain,
): Keychain[] {
  return [
    ...(explicit === undefined ? [] : [fixedKeychain({ source: '--username', ...explicit })]),
    ...(authfile === undefined ? [] : [requiredFile(authfile)]),
    ...(pullSecrets.length === 0 ? [] : [pullSecretKeychain(pullSecrets)]),
  ];
}

function inlineKeychain(json: string, context: HelperContext): Keychain {
  let keychain: Keychain | undefined;
  return {
    async resolve(target, options) {
      keychain ??= authConfigKeychain(parseAuthConfig(json, 'DOCKER_AUTH_CONFIG'), context);
      return keychain.resolve(target, options);
    },
  };
}
