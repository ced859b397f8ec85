import type { V1DaemonSet } from '@kubernetes/client-node';
import { shortHash, type Json } from '../../builder/names.ts';
import type { ClusterCaches } from '../observe/cluster/caches.ts';
import type { DaemonSetFacts } from '../observe/cluster/projections.ts';
import { daemonSets, fromLibrary } from '../observe/cluster/resources.ts';
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
  readonly #caches: Pick<ClusterCaches, 'daemonSets'>;
  readonly #written = new Map<string, Written>();

  constructor(client: ApiClient, caches: Pick<ClusterCaches, 'daemonSets'>) {
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
    const object = fromLibrary(daemonSet);
    const key = formatKey(object.metadata);
    const hash = shortHash(JSON.parse(JSON.stringify(object)) as Json);
    const written = this.#written.get(key);
    const cached = this.#caches.daemonSets.get(object.metadata);
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
