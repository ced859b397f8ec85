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

/** The content of a Kubernetes pull secret, as the API server gives it. */
export interface PullSecretContent {
  /** For messages: which secret. */
  readonly source: string;
  /** Which of the two types. */
  readonly key: '.dockerconfigjson' | '.dockercfg';
  readonly json: Secret<string>;
}

/** The keys of the two types of secret, which are the names of its files where one is mounted. */
const forms: readonly (readonly [string, AuthConfigForm])[] = [
  ['.dockerconfigjson', 'config'],
  ['.dockercfg', 'dockercfg'],
  ['config.json', 'config'],
];

/**
 * A keychain of Kubernetes pull secrets, as files or as folders where a secret is mounted. As the kubelet does,
 * it gives every entry that fits, hosts may hold globs; the most specific comes first.
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
 * The same of contents in memory. `resolve` throws RegistryError INVALID_CONFIGURATION when one of them is not
 * what it should be: the kubelet does not pull with the others either.
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
  const isFolder = await stat(path).then(
    (stats) => stats.isDirectory(),
    () => false,
  );
  const candidates = isFolder ? forms.map(([name]) => join(path, name)) : [path];
  for (const file of candidates) {
    const text = await readText(file, { required: !isFolder });
    if (text !== null) return parseAuthConfig(text, file, formOf(file));
  }
  throw invalidConfiguration(path, 'holds no .dockerconfigjson and no .dockercfg');
}

function formOf(file: string): AuthConfigForm {
  return forms.find(([name]) => name === basename(file))?.[1] ?? 'config';
}
