import * as z from 'zod';
import { type CustomResource, selects } from '../../observe/cluster/resources.ts';
import { readKernelClaims, type PublishedKernels } from '../../spoke/kernel-claim.ts';
import type { CacheEvent } from '../../runtime/cache/informer.ts';
import type { ObjectKey } from '../../runtime/api/object-key.ts';
import type { CachedManagedClusterModule } from './cached-managed-cluster-module.ts';

/** What is kept of a ManagedCluster. */
export interface CachedManagedCluster {
  /** Its name, which is that of its namespace on the hub too. */
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly kernels: PublishedKernels;
  /** Whether its agent was not heard of lately. */
  readonly away: boolean;
  readonly deleting: boolean;
}

const managedClusterStatus = z
  .looseObject({
    clusterClaims: z.unknown(),
    conditions: z.array(z.looseObject({ type: z.string(), status: z.string() })).catch([]),
  })
  .partial()
  .catch({});

/** Reduces a ManagedCluster to what is used. What cannot be read counts as absent. */
export function projectManagedCluster({ metadata, status }: CustomResource): CachedManagedCluster {
  const { clusterClaims, conditions = [] } = managedClusterStatus.parse(status);
  return {
    name: metadata.name,
    labels: metadata.labels ?? {},
    kernels: readKernelClaims(clusterClaims),
    away: conditions.some(
      ({ type, status: value }) => type === 'ManagedClusterConditionAvailable' && value !== 'True',
    ),
    deleting: metadata.deletionTimestamp !== undefined,
  };
}

/**
 * The ManagedClusterModules that a change of a cluster concerns: those that select it, or selected it before. What
 * only tells that the cluster lives concerns none.
 */
export function concernedBy(
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
