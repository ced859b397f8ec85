import {
  parseManagedClusterModule,
  type HubImageStatus,
  type ManagedClusterModule,
  type ManagedClusterModuleStatus,
} from '../../api/managed-cluster-module.ts';
import { checkManagedClusterModule } from '../../api/validation/managed-cluster-module.ts';
import { summarizeViolations } from '../../api/schema/violation.ts';
import { labelKeys } from '../../builder/labels.ts';
import { KmmError } from '../../shared/errors.ts';
import type { Logger } from '../../shared/log.ts';
import type { CustomResource, FullMetadata } from '../observe/cluster/resources.ts';
import type { ApiClient } from '../runtime/api/client.ts';
import { Informer, type CacheEvent } from '../runtime/cache/informer.ts';
import { keyOf, type ObjectKey } from '../runtime/api/object-key.ts';
import { selects } from '../observe/cluster/selects.ts';
import { projectManagedCluster, type ManagedClusterFacts } from './managed-cluster.ts';
import { managedClusterModules, managedClusters, manifestWorks } from './resources.ts';
import { projectManifestWork, type WorkFacts } from './work-facts.ts';

/** A ManagedClusterModule as the cache has it: parsed, or why it cannot be worked on. */
export interface CachedManagedClusterModule {
  readonly key: ObjectKey;
  readonly metadata: FullMetadata;
  readonly resource: ManagedClusterModule | undefined;
  readonly problem: string | undefined;
  /** With a problem, if it can be read: what its status says. */
  readonly status?: ManagedClusterModuleStatus | undefined;
  /** With a problem: its status as the API server has it. */
  readonly rawStatus?: unknown;
  /** What its status says of images, by name. */
  readonly images: ReadonlyMap<string, HubImageStatus>;
}

/** What the hub operator knows of its fleet. */
export interface HubCaches {
  /** Index `uid`. */
  readonly managedClusterModules: Informer<CustomResource, CachedManagedClusterModule>;
  readonly managedClusters: Informer<CustomResource, ManagedClusterFacts>;
  /** Index `owner`: UID of the ManagedClusterModule. */
  readonly manifestWorks: Informer<CustomResource, WorkFacts>;
}

/** Makes the caches. They follow the hub once they run. */
export function createHubCaches(client: ApiClient, log: Logger): HubCaches {
  return {
    managedClusterModules: new Informer({
      client,
      log,
      resource: managedClusterModules,
      project: projectManagedClusterModule,
      indexes: { uid: ({ metadata }) => [metadata.uid ?? ''] },
    }),
    managedClusters: new Informer({
      client,
      log,
      resource: managedClusters,
      project: projectManagedCluster,
    }),
    manifestWorks: new Informer({
      client,
      log,
      resource: manifestWorks,
      project: projectManifestWork,
      selection: { labelSelector: labelKeys.managedClusterModule },
      indexes: { owner: ({ ownerUid }) => (ownerUid === undefined ? [] : [ownerUid]) },
    }),
  };
}

/**
 * The ManagedClusterModules that a change of a cluster concerns: those that select it, or selected it before. What
 * only tells that the cluster lives concerns none.
 */
export function concernedBy(
  event: CacheEvent<ManagedClusterFacts>,
  resources: readonly CachedManagedClusterModule[],
): ObjectKey[] {
  const states = [
    ...(event.type === 'deleted' ? [] : [event.object]),
    ...(event.type === 'added' ? [] : [event.previous]),
  ];
  const [now, before] = states;
  if (now !== undefined && before !== undefined && JSON.stringify(now) === JSON.stringify(before)) return [];
  return resources
    .filter(({ resource }) =>
      states.some(({ labels }) => resource && selects(resource.spec.selector, labels)),
    )
    .map(({ key }) => key);
}

function projectManagedClusterModule(object: CustomResource): CachedManagedClusterModule {
  const { metadata, status: rawStatus } = object;
  const common = { key: keyOf(object), metadata };
  try {
    const resource = parseManagedClusterModule(object);
    const { status } = resource;
    const images = new Map(status?.images?.map((entry) => [entry.image, entry]));
    // A hub may have no webhook, or have had none when it was made.
    const { errors } = checkManagedClusterModule(resource);
    if (errors.length === 0) return { ...common, resource, problem: undefined, images };
    const problem = summarizeViolations(errors);
    return { ...common, resource: undefined, problem, status, rawStatus, images };
  } catch (error) {
    if (!(error instanceof KmmError)) throw error;
    return { ...common, resource: undefined, problem: error.message, rawStatus, images: new Map() };
  }
}
