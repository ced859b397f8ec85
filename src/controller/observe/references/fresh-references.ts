import type { PullSecretContent } from '../../../registry/credentials/pull-secret.ts';
import { FreshReads } from '../../../shared/flights.ts';
import type { ApiClient } from '../../runtime/api/client.ts';
import { formatKey, parseKey, type KubernetesObject } from '../../runtime/api/object-key.ts';
import {
  certificateSource,
  dockerfileSource,
  pullSecretSource,
  secretVersionSource,
  serviceAccountSource,
  type CertificateSecret,
  type Projection,
  type ReferenceSource,
} from './projections.ts';
import type { NamespacedKey } from './reference.ts';
import { readReference, valueOf } from './referenced-object.ts';

/**
 * Milliseconds for which a read waits for others that need the same object. A hub creates many Jobs at a time
 * that need the same few, and each would be read for each of them.
 */
const gathering = 50;

/**
 * The ConfigMaps, Secrets and ServiceAccounts that Modules refer to, each read from the API server after it
 * was asked for: what a cache has may be out of date.
 */
export class FreshReferences {
  readonly #dockerfiles;
  readonly #certificates;
  readonly #pullSecrets;
  readonly #serviceAccounts;
  readonly #secretVersions;

  constructor(client: ApiClient) {
    const reads = <T extends KubernetesObject, P>(source: ReferenceSource<T, P>) => {
      const shared = new FreshReads<Projection<P> | undefined>(
        (text) => readReference(client, source, parseKey(text)),
        gathering,
      );
      return async (key: NamespacedKey): Promise<P | undefined> => valueOf(await shared.read(formatKey(key)));
    };
    this.#dockerfiles = reads(dockerfileSource);
    this.#certificates = reads(certificateSource);
    this.#pullSecrets = reads(pullSecretSource);
    this.#serviceAccounts = reads(serviceAccountSource);
    this.#secretVersions = reads(secretVersionSource);
  }

  /** Itself. */
  get fresh(): this {
    return this;
  }

  /** As `ReferenceCache.dockerfile`. */
  dockerfile(key: NamespacedKey): Promise<Readonly<Record<string, string>> | undefined> {
    return this.#dockerfiles(key);
  }

  /** As `ReferenceCache.certificate`. */
  certificate(key: NamespacedKey): Promise<CertificateSecret | undefined> {
    return this.#certificates(key);
  }

  /** As `ReferenceCache.pullSecret`. */
  pullSecret(key: NamespacedKey): Promise<PullSecretContent | undefined> {
    return this.#pullSecrets(key);
  }

  /** As `ReferenceCache.serviceAccountPullSecrets`. */
  serviceAccountPullSecrets(key: NamespacedKey): Promise<readonly string[] | undefined> {
    return this.#serviceAccounts(key);
  }

  /** As `ReferenceCache.secretVersion`. */
  secretVersion(key: NamespacedKey): Promise<string | undefined> {
    return this.#secretVersions(key);
  }
}
