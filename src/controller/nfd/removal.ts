import type { ApiClient } from '../runtime/api/client.ts';
import { ignoreNotFound, ignoreOutdated } from '../runtime/api/errors.ts';
import { projectJob } from '../observe/cluster/projections.ts';
import { fromLibrary, jobs } from '../observe/cluster/resources.ts';
import { isBeingDeleted, removeFinalizer } from '../runtime/finalizers.ts';
import type { CachedDiscovery } from './cache.ts';
import type { OperandInputs } from './operands/common.ts';
import { pruneJob, pruneJobName } from './operands/master.ts';
import { labellingWorkloads, objectsOfCluster } from './operands/operands.ts';
import { nodeFeatureDiscoveries } from './model/resources.ts';

/** Holds up the deletion until nodes are pruned and rights are taken back. */
export const finalizer = 'nfd.kmm.sigs.x-k8s.io/operator';

/** What a deletion waits for. */
export interface RemovalWait {
  readonly reason: 'Stopping' | 'Pruning' | 'PruneFailed';
  readonly message: string;
}

/** What is removed, and for whom. */
export interface Removal {
  readonly cached: Pick<CachedDiscovery, 'metadata'>;
  /** Undefined if the resource is invalid: nothing is pruned then. */
  readonly inputs: OperandInputs | undefined;
  readonly isOpenShift: boolean;
}

/**
 * Takes the next step of a deletion. What is in the namespace disappears with its owner.
 * @returns what it waits for; undefined once the resource is released
 */
export async function removeDiscovery(
  client: ApiClient,
  { cached, inputs, isOpenShift }: Removal,
  signal: AbortSignal,
): Promise<RemovalWait | undefined> {
  const { metadata } = cached;
  if (metadata.finalizers?.includes(finalizer) !== true) return undefined;
  if (inputs?.spec.prunerOnDelete === true) {
    const wait = await prune(client, inputs, signal);
    if (wait !== undefined) return wait;
  }
  for (const { resource, key } of objectsOfCluster(isOpenShift)) {
    await client.delete(resource, key, { signal }).catch(ignoreNotFound);
  }
  await removeFinalizer(client, nodeFeatureDiscoveries, { metadata }, finalizer, { signal }).catch(
    ignoreOutdated,
  );
  return undefined;
}

async function prune(
  client: ApiClient,
  inputs: OperandInputs,
  signal: AbortSignal,
): Promise<RemovalWait | undefined> {
  const left: string[] = [];
  for (const { resource, key } of labellingWorkloads(inputs.namespace)) {
    const found = await client.get(resource, key, { signal }).catch(ignoreNotFound);
    if (found === undefined) continue;
    left.push(key.name);
    // In the foreground, so that it exists until its pods have ended: they would label nodes again.
    if (!isBeingDeleted(found)) {
      await client.delete(resource, key, { propagationPolicy: 'Foreground', signal }).catch(ignoreNotFound);
    }
  }
  if (left.length > 0) {
    return { reason: 'Stopping', message: `Before nodes are pruned, ${left.join(', ')} must end.` };
  }
  const key = { namespace: inputs.namespace, name: pruneJobName };
  const job = await client.get(jobs, key, { signal }).catch(ignoreNotFound);
  if (job === undefined) {
    await client.apply(jobs, fromLibrary(pruneJob(inputs)), { force: true, signal });
  }
  const { state = 'active', message = '' } = job === undefined ? {} : projectJob(job);
  if (state === 'succeeded') return undefined;
  if (state === 'active') {
    return { reason: 'Pruning', message: `The Job ${pruneJobName} removes labels from the nodes.` };
  }
  return {
    reason: 'PruneFailed',
    message: `The Job ${pruneJobName} has failed (${message}); see the log of its pods. Delete it to try again, or set spec.prunerOnDelete to false to leave the labels.`,
  };
}
