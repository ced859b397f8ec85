import { createHash, type X509Certificate } from 'node:crypto';
import { dockerfileKeys } from '../../../builder/job-inputs.ts';
import type { PullSecretContent } from '../../../registry/credentials/pull-secret.ts';
import { Secret as Hidden } from '../../../shared/secret.ts';
import { SignerError } from '../../../signer/model/errors.ts';
import { certificateFingerprint, parseCertificates } from '../../../signer/cms/certificates.ts';
import { decodeStored } from '../../../signer/keys/reference.ts';
import {
  configMaps,
  persistentVolumeClaims,
  secrets,
  serviceAccounts,
  type ConfigMap,
  type PersistentVolumeClaim,
  type Secret,
  type ServiceAccount,
} from '../cluster/resources.ts';
import type { KubernetesObject } from '../../runtime/api/object-key.ts';
import type { Resource } from '../../runtime/api/resource.ts';
import { ReferencedObjectError } from './reference.ts';

/** The part of a referenced object that is cached: its content for users, or why it is unusable. */
export interface Projection<P> {
  /** Equal for states of an object that do not differ for users. */
  readonly digest: string;
  readonly value: P | ReferencedObjectError;
}

/** How objects of one kind of reference are read. */
export interface ReferenceSource<T extends KubernetesObject, P> {
  readonly resource: Resource<T>;
  readonly project: (object: T) => Projection<P>;
}

/** The certificates of a signing Secret. */
export interface CertificateSecret {
  /** The first is that of the signing key. */
  readonly certificates: readonly [X509Certificate, ...X509Certificate[]];
  /** SHA-256 of the first, in hexadecimal. */
  readonly fingerprint: string;
}

/** What a pod can expect of a PersistentVolumeClaim: one that is lost has no volume any more. */
export type VolumeClaimState = 'usable' | 'deleting' | 'lost';

/** The key in a signing Secret, as in KMM. */
const certificateEntry = 'cert';
const pullSecretEntries = ['.dockerconfigjson', '.dockercfg'] as const;

/** ConfigMaps with a Dockerfile: the entries that may be one. */
export const dockerfileSource: ReferenceSource<ConfigMap, Readonly<Record<string, string>>> = {
  resource: configMaps,
  project: ({ data = {} }) => {
    const value: Record<string, string> = {};
    for (const key of dockerfileKeys) {
      const text = data[key];
      if (text !== undefined) value[key] = text;
    }
    return { digest: digestOf(Object.entries(value).flat()), value };
  },
};

/** Secrets with the certificate of a signing key. Nothing else in them is read. */
export const certificateSource: ReferenceSource<Secret, CertificateSecret> = {
  resource: secrets,
  project: (secret) => {
    const encoded = secret.data?.[certificateEntry] ?? '';
    return { digest: digestOf([encoded]), value: readCertificates(secret, encoded) };
  },
};

/** Secrets that Jobs mount: only whether they have changed. Their content is not transferred. */
export const secretVersionSource: ReferenceSource<Secret, string> = {
  resource: { ...secrets, metadataOnly: true },
  project: ({ metadata: { uid = '', resourceVersion = '' } }) => {
    const value = `${uid} ${resourceVersion}`;
    return { digest: value, value };
  },
};

/** Secrets with registry credentials. */
export const pullSecretSource: ReferenceSource<Secret, PullSecretContent> = {
  resource: secrets,
  project: (secret) => {
    const { data = {} } = secret;
    const source = nameOf(secret);
    const key = pullSecretEntries.find((entry) => data[entry] !== undefined);
    if (key === undefined) {
      const hint = 'Create it with "kubectl create secret docker-registry".';
      const problem = `has neither ${pullSecretEntries.join(' nor ')}`;
      return { digest: 'none', value: invalid('INVALID_PULL_SECRET', secret, problem, hint) };
    }
    const json = Buffer.from(data[key] ?? '', 'base64').toString('utf8');
    return { digest: digestOf([key, json]), value: { source, key, json: new Hidden(json) } };
  },
};

/** Claims of volumes: whether a pod that mounts one can start. One that is pending may be waiting for that pod. */
export const volumeClaimSource: ReferenceSource<PersistentVolumeClaim, VolumeClaimState> = {
  resource: persistentVolumeClaims,
  project: (claim) => {
    const value = volumeClaimState(claim);
    return { digest: value, value };
  },
};

function volumeClaimState({ metadata, status }: PersistentVolumeClaim): VolumeClaimState {
  if (metadata.deletionTimestamp !== undefined) return 'deleting';
  return status?.phase === 'Lost' ? 'lost' : 'usable';
}

/** ServiceAccounts: the names of their pull secrets. */
export const serviceAccountSource: ReferenceSource<ServiceAccount, readonly string[]> = {
  resource: serviceAccounts,
  project: ({ imagePullSecrets = [] }) => {
    const value = imagePullSecrets.flatMap(({ name }) => (name === undefined || name === '' ? [] : [name]));
    return { digest: digestOf(value), value };
  },
};

function readCertificates(secret: Secret, encoded: string): CertificateSecret | ReferencedObjectError {
  const hint = `Its entry "${certificateEntry}" must contain an X.509 certificate in DER or PEM.`;
  if (encoded === '') {
    return invalid('INVALID_CERTIFICATE_SECRET', secret, `has no entry "${certificateEntry}"`, hint);
  }
  try {
    const certificates = parseCertificates(decodeStored(Buffer.from(encoded, 'base64')), nameOf(secret));
    return { certificates, fingerprint: certificateFingerprint(certificates[0]) };
  } catch (error) {
    if (!(error instanceof SignerError)) throw error;
    const problem = `has an entry "${certificateEntry}" that is not a readable certificate`;
    return invalid('INVALID_CERTIFICATE_SECRET', secret, problem, hint);
  }
}

function invalid(
  code: 'INVALID_CERTIFICATE_SECRET' | 'INVALID_PULL_SECRET',
  secret: Secret,
  problem: string,
  hint: string,
): ReferencedObjectError {
  const { namespace, name } = secret.metadata;
  return new ReferencedObjectError({
    code,
    message: `The ${nameOf(secret)} ${problem}`,
    hint,
    facts: { kind: 'Secret', namespace, name },
  });
}

function nameOf({ metadata }: Secret): string {
  return `Secret ${metadata.namespace}/${metadata.name}`;
}

function digestOf(texts: readonly string[]): string {
  return createHash('sha256').update(JSON.stringify(texts)).digest('hex');
}
