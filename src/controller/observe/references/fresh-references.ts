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
  volumeClaimSource,
  type CertificateSecret,
  type Projection,
  type ReferenceSource,
  type VolumeClaimState,
} from './projections.ts';
import type { NamespacedKey } from './reference.ts';
import { readReference, valueOf } from './referenced-object.ts';

/**
 * Milliseconds for which a read waits for others that need the same object. A hub creates many Jobs at a time
 * that need the same few, and each would be read for each of them.
 */
const gathering = 50;

/** What Modules refer to: `ReferenceCache` says what each function returns. */
export interface References {
  dockerfile(key: NamespacedKey): Promise<Readonly<Record<string, string>> | undefined>;
  certificate(key: NamespacedKey): Promise<CertificateSecret | undefined>;
  pullSecret(key: NamespacedKey): Promise<PullSecretContent | undefined>;
  serviceAccountPullSecrets(key: NamespacedKey): Promise<readonly string[] | undefined>;
  secretVersion(key: NamespacedKey): Promise<string | undefined>;
  volumeClaim(key: NamespacedKey): Promise<VolumeClaimState | undefined>;
  /** The same objects, each read from the API server after it was asked for: what a cache has may be out of date. */
  readonly fresh: References;
}

/** Returns references that are all read anew. */
export function freshReferences(client: ApiClient): References {
  const reads = <T extends KubernetesObject, P>(source: ReferenceSource<T, P>) => {
    const shared = new FreshReads<Projection<P> | undefined>(
      (text) => readReference(client, source, parseKey(text)),
      gathering,
    );
    return async (key: NamespacedKey): Promise<P | undefined> => valueOf(await shared.read(formatKey(key)));
  };
  const references: References = {
    dockerfile: reads(dockerfileSource),
    certificate: reads(certificateSource),
    pullSecret: reads(pullSecretSource),
    serviceAccountPullSecrets: reads(serviceAccountSource),
    secretVersion: reads(secretVersionSource),
    volumeClaim: reads(volumeClaimSource),
    get fresh() {
      return references;
    },
  };
  return references;
}
