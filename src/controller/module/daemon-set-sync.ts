import type { V1DaemonSet } from '@kubernetes/client-node';
import { labelKeys, nodeLabels } from '../../builder/labels.ts';
import { shortHash, type Json } from '../../builder/names.ts';
import { nonEmpty } from '../../api/schema/resource.ts';
import type { ClusterCaches } from '../observe/cluster/caches.ts';
import { fromLibrary, daemonSets } from '../observe/cluster/resources.ts';
import type { DaemonSetFacts } from '../observe/cluster/projections.ts';
import { devicePluginDaemonSet, devicePluginRole } from './loading/device-plugin.ts';
import type { DaemonSetFacts as Surroundings } from './loading/facts.ts';
import { moduleLoaderDaemonSet, moduleLoaderRole } from './loading/module-loader.ts';
import type { ApiClient } from '../runtime/api/client.ts';
import { isApiError } from '../runtime/api/errors.ts';
import { formatKey } from '../runtime/api/object-key.ts';
import { KmmError } from '../../shared/errors.ts';
import type { KernelResult } from './kernel-result.ts';
import { moduleNameOf, type NamedModule } from './named-module.ts';

/** What a Module's DaemonSets come from. */
export interface DaemonSetQuery {
  readonly module: NamedModule;
  readonly results: readonly KernelResult[];
  /** Label values of the kernels that some mapping is for, those of nodes with taints included. */
  readonly mappedKernels: readonly string[];
  readonly surroundings: Surroundings;
}

/** What was written last, and what the API server made of it: the same again need not be written. */
interface Written {
  readonly hash: string;
  readonly generation: number;
}

/** Keeps the DaemonSets of Modules as they should be. */
export class DaemonSetSync {
  readonly #client: ApiClient;
  readonly #caches: Pick<ClusterCaches, 'daemonSets'>;
  readonly #written = new Map<string, Written>();

  constructor(client: ApiClient, caches: Pick<ClusterCaches, 'daemonSets'>) {
    this.#client = client;
    this.#caches = caches;
  }

  /**
   * Writes the DaemonSets of kernels whose image is ready, and of the device plugin; deletes those that are for
   * nothing any more. Those of kernels whose image is being worked on stay as they are.
   */
  async sync(query: DaemonSetQuery, signal: AbortSignal): Promise<void> {
    const wanted = wantedDaemonSets(query);
    for (const daemonSet of wanted) await this.#apply(daemonSet, signal);
    const names = new Set(wanted.map(({ metadata }) => metadata?.name));
    const owned = this.#caches.daemonSets.byIndex('owner', query.module.metadata.uid);
    for (const daemonSet of owned) {
      if (names.has(daemonSet.key.name) || daemonSet.deleting || isNeeded(daemonSet, query)) continue;
      await this.#delete(daemonSet, signal);
    }
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

  async #delete({ key, uid }: DaemonSetFacts, signal: AbortSignal): Promise<void> {
    this.#written.delete(formatKey(key));
    await this.#client.delete(daemonSets, key, { uid, signal }).catch((error: unknown) => {
      if (!isApiError(error, 'NOT_FOUND', 'CONFLICT')) throw error;
    });
  }
}

function wantedDaemonSets({ module, results, surroundings }: DaemonSetQuery): V1DaemonSet[] {
  const loaders = results.flatMap(({ target, state }) =>
    target instanceof KmmError || state.digest === undefined
      ? []
      : [moduleLoaderDaemonSet(target, state.digest, surroundings)],
  );
  const plugin = devicePluginDaemonSet(moduleNameOf(module), module.spec, surroundings);
  return plugin === undefined ? loaders : [...loaders, plugin];
}

/** Whether a DaemonSet that is not written anew is to stay all the same. */
function isNeeded({ labels, desired }: DaemonSetFacts, query: DaemonSetQuery): boolean {
  const { module, mappedKernels } = query;
  const role = labels[labelKeys.role];
  const keys = nodeLabels(moduleNameOf(module));
  const version = nonEmpty(module.spec.moduleLoader?.container.version);
  if (role === devicePluginRole) {
    // In an ordered upgrade, nodes move from one version to the other one by one.
    const isOther = labels[keys.devicePluginVersion] !== version;
    return module.spec.devicePlugin !== undefined && version !== undefined && isOther && desired > 0;
  }
  if (role !== moduleLoaderRole || !mappedKernels.includes(labels[labelKeys.kernel] ?? '')) return false;
  return labels[keys.moduleLoaderVersion] === version || desired > 0;
}
