import { parseModule, type Module, type ModuleStatus } from '../../../api/module/module.ts';
import { checkModuleSpec } from '../../../api/validation/module-spec.ts';
import { summarizeViolations } from '../../../api/schema/resource.ts';
import { labelKeys } from '../../../builder/labels.ts';
import { KmmError } from '../../../shared/errors.ts';
import type { Logger } from '../../../shared/logger.ts';
import type { ApiClient } from '../../runtime/api/client.ts';
import { Informer, type InformerOptions } from '../../runtime/cache/informer.ts';
import { keyOf, type KubernetesObject, type ObjectKey } from '../../runtime/api/object-key.ts';
import {
  projectDaemonSet,
  projectJob,
  projectNode,
  projectPod,
  type DaemonSetFacts,
  type JobFacts,
  type NodeFacts,
  type PodFacts,
} from './projections.ts';
import {
  daemonSets,
  jobs,
  modules,
  nodes,
  pods,
  type CustomResource,
  type DaemonSet,
  type FullMetadata,
  type Job,
  type Node,
  type Pod,
} from './resources.ts';

/** A Module in the cache: parsed, or with the reason why it is invalid. */
export interface CachedModule {
  readonly key: ObjectKey;
  readonly metadata: FullMetadata;
  readonly module: Module | undefined;
  readonly problem: string | undefined;
  /** Of an invalid Module: its status, if it can be parsed. */
  readonly status?: ModuleStatus | undefined;
  /** Of an invalid Module: its status as the API server has it. */
  readonly rawStatus?: unknown;
}

/** The operator's view of its cluster. */
export interface ClusterCaches {
  /** Index `uid`. */
  readonly modules: Informer<CustomResource, CachedModule>;
  readonly nodes: Informer<Node, NodeFacts>;
  /** Index `owner`: UID of the controlling owner. */
  readonly jobs: Informer<Job, JobFacts>;
  /** Index `owner`: UID of the controlling owner. */
  readonly daemonSets: Informer<DaemonSet, DaemonSetFacts>;
  /**
   * Indexes `node`: its name; `operand`: namespace/label of the Module, of loaders and device plugins;
   * `owner`: namespace/name of the Job or DaemonSet that created it.
   */
  readonly pods: Informer<Pod, PodFacts>;
}

/** Creates the caches. They follow the cluster once they run. */
export function createCaches(client: ApiClient, log: Logger): ClusterCaches {
  const informer = <T extends KubernetesObject, P>(
    options: Omit<InformerOptions<T, P>, 'client' | 'log'>,
  ): Informer<T, P> => new Informer({ ...options, client, log });
  return {
    modules: informer({
      resource: modules,
      project: projectModule,
      indexes: { uid: ({ metadata }) => [metadata.uid ?? ''] },
    }),
    nodes: informer({ resource: nodes, project: projectNode }),
    jobs: informer({
      resource: jobs,
      project: projectJob,
      selection: { labelSelector: labelKeys.jobType },
      indexes: { owner: ownedBy },
    }),
    daemonSets: informer({
      resource: daemonSets,
      project: projectDaemonSet,
      selection: { labelSelector: labelKeys.moduleName },
      indexes: { owner: ownedBy },
    }),
    pods: informer({
      resource: pods,
      project: projectPod,
      selection: { labelSelector: labelKeys.moduleName },
      indexes: {
        node: ({ nodeName }) => (nodeName === undefined ? [] : [nodeName]),
        operand: ({ key, labels }) => operandOf(key, labels),
        owner: ({ key, ownerName }) => (ownerName === undefined ? [] : [`${key.namespace}/${ownerName}`]),
      },
    }),
  };
}

/** Returns the value of the index `operand`: namespace/value of the label that names the Module. */
function operandOf({ namespace }: ObjectKey, labels: Readonly<Record<string, string>>): string[] {
  const module = labels[labelKeys.moduleName];
  return module === undefined || labels[labelKeys.role] === undefined ? [] : [`${namespace}/${module}`];
}

function ownedBy({ ownerUid }: { readonly ownerUid: string | undefined }): string[] {
  return ownerUid === undefined ? [] : [ownerUid];
}

/** Returns all caches, to handle them alike. */
export function allCaches(caches: ClusterCaches): {
  run(signal: AbortSignal): Promise<void>;
  waitForSync(signal: AbortSignal): Promise<void>;
  readonly hasSynced: boolean;
}[] {
  return [caches.modules, caches.nodes, caches.jobs, caches.daemonSets, caches.pods];
}

function projectModule(resource: CustomResource): CachedModule {
  const { metadata, status: rawStatus } = resource;
  const common = { key: keyOf(resource), metadata };
  try {
    const module = parseModule(resource);
    // The cluster may have no webhook, or had none when the Module was created.
    const { errors } = checkModuleSpec(module.spec, metadata);
    if (errors.length === 0) return { ...common, module, problem: undefined };
    const problem = summarizeViolations(errors);
    return { ...common, module: undefined, problem, status: module.status, rawStatus };
  } catch (error) {
    if (!(error instanceof KmmError)) throw error;
    return { ...common, module: undefined, problem: error.message, rawStatus };
  }
}
