import type { V1DaemonSet } from '@kubernetes/client-node';
import { labelKeys } from '../../builder/labels.ts';
import { shortHash, type Json } from '../../builder/names.ts';
import type { ClusterCaches } from '../observe/cluster/caches.ts';
import type { DaemonSetFacts, PodFacts } from '../observe/cluster/projections.ts';
import { daemonSets, fromLibrary, type DaemonSet } from '../observe/cluster/resources.ts';
import type { ApiClient } from '../runtime/api/client.ts';
import { ignoreOutdated } from '../runtime/api/errors.ts';
import { formatKey } from '../runtime/api/object-key.ts';
import type { RolloutPlan } from './plan-rollout.ts';

/** What was written last, and the resulting generation: the same content need not be written again. */
interface Written {
  readonly hash: string;
  readonly generation: number;
}

/** Writes and deletes DaemonSets according to plans. */
export class DaemonSetWriter {
  readonly #client: ApiClient;
  readonly #caches: Pick<ClusterCaches, 'daemonSets' | 'pods'>;
  readonly #written = new Map<string, Written>();

  constructor(client: ApiClient, caches: Pick<ClusterCaches, 'daemonSets' | 'pods'>) {
    this.#client = client;
    this.#caches = caches;
  }

  /** Deletes what is taken over, writes what is new or was changed by others, then deletes. @throws ApiError */
  async write(
    { orphan, apply, remove }: Pick<RolloutPlan, 'orphan' | 'apply' | 'remove'>,
    signal: AbortSignal,
  ): Promise<void> {
    for (const daemonSet of orphan) await this.#delete(daemonSet, 'Orphan', signal);
    for (const daemonSet of apply) await this.#apply(daemonSet, signal);
    for (const daemonSet of remove) await this.#delete(daemonSet, 'Background', signal);
  }

  async #apply(daemonSet: V1DaemonSet, signal: AbortSignal): Promise<void> {
    const wanted = fromLibrary(daemonSet);
    const key = formatKey(wanted.metadata);
    const cached = this.#caches.daemonSets.get(wanted.metadata);
    const pods = this.#caches.pods.byIndex('owner', key);
    const object = countEarlierPods(
      wanted,
      pods.filter(({ ownerUid }) => ownerUid !== cached?.uid),
    );
    const hash = shortHash(JSON.parse(JSON.stringify(object)) as Json);
    const written = this.#written.get(key);
    if (written?.hash === hash && cached !== undefined && cached.generation <= written.generation) return;
    const { metadata } = await this.#client.apply(daemonSets, object, { force: true, signal });
    this.#written.set(key, { hash, generation: metadata.generation ?? 0 });
  }

  async #delete(
    { key, uid }: DaemonSetFacts,
    propagationPolicy: 'Background' | 'Orphan',
    signal: AbortSignal,
  ): Promise<void> {
    this.#written.delete(formatKey(key));
    await this.#client.delete(daemonSets, key, { uid, propagationPolicy, signal }).catch(ignoreOutdated);
  }
}

/**
 * Annotates a DaemonSet with the number of pods that a deleted one of the same name has left. When a node becomes
 * eligible, the DaemonSet controller of Kubernetes 1.34 takes such a pod for one of the new DaemonSet, and nothing
 * tells it when the pod has ended: a change of the number does.
 */
function countEarlierPods(daemonSet: DaemonSet, pods: readonly PodFacts[]): DaemonSet {
  if (pods.length === 0) return daemonSet;
  const { metadata } = daemonSet;
  const annotations = { ...metadata.annotations, [labelKeys.earlierPods]: `${pods.length}` };
  return { ...daemonSet, metadata: { ...metadata, annotations } };
}
