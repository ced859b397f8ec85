import * as z from 'zod';
import { type CustomResource, selects } from '../../observe/cluster/resources.ts';
import { readKernelClaims, type PublishedKernels } from '../../spoke/kernel-claim.ts';
import type { CacheEvent } from '../../runtime/cache/informer.ts';
import type { ObjectKey } from '../../runtime/api/object-key.ts';
import type { CachedManagedClusterModule } from './managed-cluster-modules.ts';
import type { Resource } from '../../runtime/api/resource.ts';

/** Open Cluster Management: a cluster managed by the hub. */
export const managedClusters: Resource<CustomResource> = {
  group: 'cluster.open-cluster-management.io',
  version: 'v1',
  plural: 'managedclusters',
  kind: 'ManagedCluster',
  namespaced: false,
};

/** The part of a ManagedCluster that is cached. */
export interface CachedManagedCluster {
  /** Its name, and that of its namespace on the hub. */
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly kernels: PublishedKernels;
  /** Whether its agent reports; true if nothing is known about it. */
  readonly available: boolean;
  readonly deleting: boolean;
}

const managedClusterStatus = z
  .looseObject({
    clusterClaims: z.unknown(),
    conditions: z.array(z.looseObject({ type: z.string(), status: z.string() })).catch([]),
  })
  .partial()
  .catch({});

/** Reduces a ManagedCluster to what is used. What cannot be parsed counts as absent. */
export function projectManagedCluster({ metadata, status }: CustomResource): CachedManagedCluster {
  const { clusterClaims, conditions = [] } = managedClusterStatus.parse(status);
  return {
    name: metadata.name,
    labels: metadata.labels ?? {},
    kernels: readKernelClaims(clusterClaims),
    available: conditions.every(
      ({ type, status: value }) => type !== 'ManagedClusterConditionAvailable' || value === 'True',
    ),
    deleting: metadata.deletionTimestamp !== undefined,
  };
}

/**
 * Returns the ManagedClusterModules that a change of a cluster affects: those that select it now or selected
 * it before. A mere heartbeat affects none.
 */
export function modulesSelecting(
  event: CacheEvent<CachedManagedCluster>,
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
