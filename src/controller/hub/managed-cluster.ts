import { z } from 'zod';
import type { CustomResource } from '../observe/cluster/resources.ts';
import { readKernelClaims, type PublishedKernels } from '../spoke/kernel-claim/kernel-claim.ts';

/** What is kept of a ManagedCluster. */
export interface ManagedClusterFacts {
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
export function projectManagedCluster({ metadata, status }: CustomResource): ManagedClusterFacts {
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
