import { stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { abortable } from '../../shared/abortable.ts';
import { once } from '../../shared/flights.ts';
import type { Secret } from '../../shared/secret.ts';
import {
  invalidConfiguration,
  parseAuthConfig,
  type AuthConfig,
  type AuthConfigForm,
} from './auth-config.ts';
import { readText } from './auth-file-keychain.ts';
import type { Keychain } from './keychain.ts';
import { bestFirst, matchServerKey } from './server-key.ts';

/** The content of a Kubernetes pull secret, as returned by the API server. */
export interface PullSecretContent {
  /** Names the secret in messages. */
  readonly source: string;
  /** Identifies the type of the secret. */
  readonly key: '.dockerconfigjson' | '.dockercfg';
  readonly json: Secret<string>;
}

/** The keys of the two types of secret, which are also the file names of a mounted secret. */
const forms: readonly (readonly [string, AuthConfigForm])[] = [
  ['.dockerconfigjson', 'config'],
  ['.dockercfg', 'dockercfg'],
  ['config.json', 'config'],
];

/**
 * Creates a keychain from Kubernetes pull secrets, given as files or as directories where a secret is
 * mounted. Like the kubelet, it returns every matching entry, the most specific first; hosts may contain
 * globs.
 */
export function pullSecretKeychain(paths: readonly string[]): Keychain {
  const keychain = once(async () => keychainOf(await Promise.all(paths.map(readPullSecret))));
  return {
    async resolve(target, { signal } = {}) {
      return (await abortable(keychain(), signal)).resolve(target);
    },
  };
}

/**
 * Creates such a keychain from contents in memory. `resolve` throws RegistryError INVALID_CONFIGURATION if
 * any of them is invalid: the kubelet does not pull with the others either.
 */
export function pullSecretContentKeychain(contents: readonly PullSecretContent[]): Keychain {
  let keychain: Keychain | undefined;
  return {
    async resolve(target) {
      keychain ??= keychainOf(
        contents.map(({ json, source, key }) => parseAuthConfig(json.reveal(), source, formOf(key))),
      );
      return keychain.resolve(target);
    },
  };
}

function keychainOf(configs: readonly AuthConfig[]): Keychain {
  const entries = configs.flatMap((config) => config.entries);
  return {
    resolve: (target) =>
      Promise.resolve(
        bestFirst(entries, ({ key }) => matchServerKey(key, target, { globs: true })).map(
          ({ credential }) => credential,
        ),
      ),
  };
}

async function readPullSecret(path: string): Promise<AuthConfig> {
  const isDirectory = await stat(path).then(
    (stats) => stats.isDirectory(),
    () => false,
  );
  const candidates = isDirectory ? forms.map(([name]) => join(path, name)) : [path];
  for (const file of candidates) {
    const text = await readText(file, !isDirectory);
    if (text !== null) return parseAuthConfig(text, file, formOf(file));
  }
  throw invalidConfiguration(path, 'contains neither .dockerconfigjson nor .dockercfg');
}

function formOf(file: string): AuthConfigForm {
  return forms.find(([name]) => name === basename(file))?.[1] ?? 'config';
}
