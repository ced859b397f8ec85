import {
  nodeModulesConfigSpec,
  nodeModulesConfigStatus,
  type NodeModuleSpec,
  type NodeModuleStatus,
} from '../../api/node-modules-config.ts';
import type { Logger } from '../../shared/logger.ts';
import { nodeModulesConfigs, type CustomResource } from '../observe/cluster/resources.ts';
import type { ApiClient } from '../runtime/api/client.ts';
import { Informer } from '../runtime/cache/informer.ts';

/** Marks a NodeModulesConfig that this operator has written: KMM writes them too. */
export const managedBy = { label: 'app.kubernetes.io/managed-by', value: 'kmm-operator' } as const;

/** Annotation: NAMESPACE/NAME of modules that KMM has loaded and that no loader has taken over, with commas. */
export const loadedByKmmAnnotation = 'kmm.sigs.x-k8s.io/loaded-by-kmm';

/** The prefix of the labels that name Modules, as KMM has them. */
export const moduleLabelPrefix = 'beta.kmm.node.kubernetes.io/';

/** A NodeModulesConfig in the cache. */
export interface CachedNodeModules {
  readonly name: string;
  readonly uid: string | undefined;
  /** UID of the node that owns it. */
  readonly nodeUid: string | undefined;
  /** Whether this operator has written it before. */
  readonly isOurs: boolean;
  /** Labels that name Modules. */
  readonly labels: Readonly<Record<string, string>>;
  readonly loadedByKmm: readonly string[];
  readonly spec: readonly NodeModuleSpec[];
  readonly status: readonly NodeModuleStatus[];
}

/** A cache of NodeModulesConfigs. */
export type NodeModulesCache = Informer<CustomResource, CachedNodeModules>;

/** Creates the cache. It follows the cluster once it runs. */
export function createNodeModulesCache(client: ApiClient, log: Logger): NodeModulesCache {
  return new Informer({ client, log, resource: nodeModulesConfigs, project });
}

function project({ metadata, spec, status }: CustomResource): CachedNodeModules {
  const { labels = {}, annotations = {}, ownerReferences = [] } = metadata;
  const loadedByKmm = annotations[loadedByKmmAnnotation] ?? '';
  return {
    name: metadata.name,
    uid: metadata.uid,
    nodeUid: ownerReferences.find(({ kind }) => kind === 'Node')?.uid,
    isOurs: labels[managedBy.label] === managedBy.value,
    labels: Object.fromEntries(Object.entries(labels).filter(([key]) => key.startsWith(moduleLabelPrefix))),
    loadedByKmm: loadedByKmm === '' ? [] : loadedByKmm.split(','),
    // What cannot be read counts as absent, and is written again.
    spec: nodeModulesConfigSpec.safeParse(spec).data?.modules ?? [],
    status: nodeModulesConfigStatus.safeParse(status).data?.modules ?? [],
  };
}
