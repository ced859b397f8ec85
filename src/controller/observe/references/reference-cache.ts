import type { PullSecretContent } from '../../../registry/credentials/pull-secret.ts';
import { silentLogger, type Logger } from '../../../shared/logger.ts';
import type { ApiClient } from '../../runtime/api/client.ts';
import type { KubernetesObject, ObjectKey } from '../../runtime/api/object-key.ts';
import { freshReferences, type References } from './fresh-references.ts';
import { FollowedObjects, type ChangeHandler } from './followed-objects.ts';
import {
  certificateSource,
  dockerfileSource,
  pullSecretSource,
  secretVersionSource,
  serviceAccountSource,
  type CertificateSecret,
  type ReferenceSource,
  type VolumeClaimState,
} from './projections.ts';
import type { NamespacedKey, Reference, ReferenceKind } from './reference.ts';

/**
 * The ConfigMaps, Secrets and ServiceAccounts that Modules refer to. Each has its own watch while it is in
 * use: the operator may not list those of a namespace. Only the part of each that is used is cached. One that
 * is not watched (yet) is read directly.
 */
export class ReferenceCache implements References {
  readonly #handlers = new Set<ChangeHandler>();
  readonly #dockerfiles;
  readonly #certificates;
  readonly #pullSecrets;
  readonly #serviceAccounts;
  readonly #secretVersions;
  readonly fresh: References;

  constructor(client: ApiClient, log: Logger = silentLogger) {
    this.fresh = freshReferences(client);
    const follow = <T extends KubernetesObject, P>(source: ReferenceSource<T, P>): FollowedObjects<T, P> =>
      new FollowedObjects(client, source, log, (users) => this.#notify(users));
    this.#dockerfiles = follow(dockerfileSource);
    this.#certificates = follow(certificateSource);
    this.#pullSecrets = follow(pullSecretSource);
    this.#serviceAccounts = follow(serviceAccountSource);
    this.#secretVersions = follow(secretVersionSource);
  }

  /** The number of objects that are followed. */
  get size(): number {
    return this.#all().reduce((sum, [, { size }]) => sum + size, 0);
  }

  /** Follows the objects in use until the signal is aborted. Call it once. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all(this.#all().map(([, followed]) => followed.run(signal)));
  }

  /** Calls a handler with the users of an object when the part that they have read has changed. */
  onChange(handler: ChangeHandler): void {
    this.#handlers.add(handler);
  }

  /** Replaces the objects that a user uses. Those without users are no longer followed. */
  use(user: ObjectKey, references: readonly Reference[]): void {
    for (const [kind, followed] of this.#all()) {
      followed.use(
        user,
        references.filter((reference) => reference.kind === kind).map(({ key }) => key),
      );
    }
  }

  /**
   * Returns the entries of a ConfigMap that may be the Dockerfile, for `findDockerfile`; undefined if the
   * ConfigMap does not exist.
   * @throws ReferencedObjectError REFERENCE_FORBIDDEN, ApiError
   */
  dockerfile(key: NamespacedKey): Promise<Readonly<Record<string, string>> | undefined> {
    return this.#dockerfiles.read(key);
  }

  /**
   * Returns the certificates of a signing Secret; undefined if it does not exist.
   * @throws ReferencedObjectError REFERENCE_FORBIDDEN, INVALID_CERTIFICATE_SECRET; ApiError
   */
  certificate(key: NamespacedKey): Promise<CertificateSecret | undefined> {
    return this.#certificates.read(key);
  }

  /**
   * Returns the content of a pull secret; undefined if it does not exist.
   * @throws ReferencedObjectError REFERENCE_FORBIDDEN, INVALID_PULL_SECRET; ApiError
   */
  pullSecret(key: NamespacedKey): Promise<PullSecretContent | undefined> {
    return this.#pullSecrets.read(key);
  }

  /**
   * Returns the names of a ServiceAccount's pull secrets; undefined if it does not exist.
   * @throws ReferencedObjectError REFERENCE_FORBIDDEN, ApiError
   */
  serviceAccountPullSecrets(key: NamespacedKey): Promise<readonly string[] | undefined> {
    return this.#serviceAccounts.read(key);
  }

  /**
   * Returns the version of a Secret, which differs after every change; undefined if it does not exist. Its
   * content is not read.
   * @throws ReferencedObjectError REFERENCE_FORBIDDEN, ApiError
   */
  secretVersion(key: NamespacedKey): Promise<string | undefined> {
    return this.#secretVersions.read(key);
  }

  /**
   * Returns the state of a PersistentVolumeClaim; undefined if it does not exist. It is only needed when a Job is
   * created, and therefore read each time.
   * @throws ReferencedObjectError REFERENCE_FORBIDDEN, ApiError
   */
  volumeClaim(key: NamespacedKey): Promise<VolumeClaimState | undefined> {
    return this.fresh.volumeClaim(key);
  }

  #all() {
    return [
      ['dockerfile', this.#dockerfiles],
      ['certificate', this.#certificates],
      ['pull-secret', this.#pullSecrets],
      ['service-account', this.#serviceAccounts],
      ['secret', this.#secretVersions],
    ] as const satisfies readonly (readonly [ReferenceKind, unknown])[];
  }

  #notify(users: readonly ObjectKey[]): void {
    for (const handler of this.#handlers) handler(users);
  }
}
