import type { Logger } from '../../shared/logger.ts';
import type { NodeFacts } from '../observe/cluster/projections.ts';
import type { CustomResource, Node } from '../observe/cluster/resources.ts';
import { kernelClaimName, kernelClaimNames, planKernelClaims } from './kernel-claim.ts';
import type { ApiClient } from '../runtime/api/client.ts';
import { Informer, type CacheEvent } from '../runtime/cache/informer.ts';
import { Controller, type ReconcileResult } from '../runtime/controller.ts';
import { isApiError } from '../runtime/api/errors.ts';
import type { ControllerMetrics } from '../runtime/metrics.ts';
import type { Resource } from '../runtime/api/resource.ts';

/** Open Cluster Management: a fact about a cluster, created there and visible to its hub. */
export const clusterClaims: Resource<CustomResource> = {
  group: 'cluster.open-cluster-management.io',
  version: 'v1alpha1',
  plural: 'clusterclaims',
  kind: 'ClusterClaim',
  namespaced: false,
};

/** The part of a ClusterClaim that is cached. */
export interface CachedClaim {
  readonly name: string;
  /** Empty if it has none. */
  readonly value: string;
}

/** A cache of ClusterClaims; only those with kernels are used. */
export type ClaimCache = Informer<CustomResource, CachedClaim>;

/** Creates the cache of ClusterClaims. */
export function createClaimCache(client: ApiClient, log: Logger): ClaimCache {
  return new Informer({ client, log, resource: clusterClaims, project: projectClaim });
}

function projectClaim({ metadata, spec }: CustomResource): CachedClaim {
  const { value } = Object(spec) as { value?: unknown };
  return { name: metadata.name, value: typeof value === 'string' ? value : '' };
}

export interface ClaimPublisherOptions {
  readonly client: ApiClient;
  readonly nodes: Informer<Node, NodeFacts>;
  readonly claims: ClaimCache;
  readonly log: Logger;
  readonly metrics?: ControllerMetrics | undefined;
}

/**
 * Creates the controller that publishes to the hub which kernels the cluster's nodes run. It reverts changes
 * made by others, and writes nothing if nothing has changed.
 */
export function createClaimPublisher(options: ClaimPublisherOptions): Controller {
  const { nodes, claims, log, metrics } = options;
  const all = [{ name: kernelClaimName }];
  const controller = new Controller({
    name: 'kernel-claims',
    log,
    metrics,
    reconcile: (_key, { signal }) => publish(options, signal),
  });
  controller.watch(nodes, (event) => (changesKernel(event) ? all : []));
  controller.watch(claims, ({ key }) => (kernelClaimNames.includes(key.name) ? all : []));
  // If the last node was removed while the operator was down, there are claims but no event.
  controller.enqueue({ name: kernelClaimName });
  return controller;
}

/** Returns whether a kernel changed: nodes report every few seconds, a new kernel only after a reboot. */
function changesKernel(event: CacheEvent<NodeFacts>): boolean {
  return event.type !== 'updated' || event.object.kernelRelease !== event.previous.kernelRelease;
}

async function publish(
  { client, nodes, claims, log }: ClaimPublisherOptions,
  signal: AbortSignal,
): Promise<ReconcileResult> {
  const present = new Map(
    kernelClaimNames.flatMap((name) => {
      const claim = claims.get({ name });
      return claim === undefined ? [] : [[name, claim.value] as const];
    }),
  );
  const releases = nodes.list().map(({ kernelRelease }) => kernelRelease);
  const { writes, deletes, omitted } = planKernelClaims(releases, present);
  if (omitted.length > 0) {
    log.warn('kernels are not published', { count: omitted.length, kernels: omitted.slice(0, 10) });
  }
  for (const [name, value] of writes) {
    await client.apply(clusterClaims, { metadata: { name }, spec: { value } }, { force: true, signal });
  }
  for (const name of deletes) await remove(client, name, signal);
  return {};
}

async function remove(client: ApiClient, name: string, signal: AbortSignal): Promise<void> {
  try {
    await client.delete(clusterClaims, { name }, { signal });
  } catch (error) {
    if (!isApiError(error, 'NOT_FOUND')) throw error;
  }
}
