import type { Logger } from '../../shared/logger.ts';
import { isOperandPod } from '../module/labels/pods-by-module.ts';
import type { CachedModule, ClusterCaches } from '../observe/cluster/caches.ts';
import type { NodeFacts, PodFacts } from '../observe/cluster/projections.ts';
import { nodeModulesConfigs, selects } from '../observe/cluster/resources.ts';
import type { ApiClient } from '../runtime/api/client.ts';
import { ignoreOutdated } from '../runtime/api/errors.ts';
import type { ObjectKey } from '../runtime/api/object-key.ts';
import { objectOf, type CacheEvent } from '../runtime/cache/informer.ts';
import { Controller, type ReconcileResult } from '../runtime/controller.ts';
import type { RuntimeMetrics } from '../runtime/metrics.ts';
import { isSameValue } from '../runtime/same-value.ts';
import { loadedByKmmAnnotation, managedBy, type CachedNodeModules, type NodeModulesCache } from './cache.ts';
import { planNodeModules, type LoadedBy, type NodeModulesPlan } from './plan.ts';
import { wantedModules } from './wanted-modules.ts';

export interface NodeModulesOptions {
  readonly client: ApiClient;
  readonly caches: Pick<ClusterCaches, 'nodes' | 'pods' | 'modules'>;
  readonly nodeModules: NodeModulesCache;
  readonly log?: Logger | undefined;
  readonly metrics?: RuntimeMetrics | undefined;
}

const controllerName = 'NodeModulesConfig';
/** Nodes written concurrently. */
const maxConcurrent = 4;

/**
 * Creates the controller that writes a NodeModulesConfig for each node with Modules, for others to read. Its
 * keys are names of nodes.
 */
export function createNodeModulesController(options: NodeModulesOptions): Controller {
  const { caches, nodeModules, log, metrics } = options;
  const loadedBy = new Map<string, ReadonlyMap<string, LoadedBy>>();
  const controller = new Controller({
    name: controllerName,
    maxConcurrent,
    log,
    metrics: metrics?.controller(controllerName, maxConcurrent),
    reconcile: (key, { signal }) => reconcile(options, loadedBy, key, signal),
  });
  controller.watch(caches.nodes, (event) => (isRelevantChange(event) ? [event.key] : []));
  controller.watch(caches.pods, nodesOfPod);
  controller.watch(caches.modules, (event) => nodesOfModule(event, caches.nodes.list(), nodeModules.list()));
  controller.watch(nodeModules);
  return controller;
}

async function reconcile(
  { client, caches, nodeModules }: NodeModulesOptions,
  loadedBy: Map<string, ReadonlyMap<string, LoadedBy>>,
  { name }: ObjectKey,
  signal: AbortSignal,
): Promise<ReconcileResult> {
  const node = caches.nodes.get({ name });
  if (node === undefined) {
    // Its NodeModulesConfig is garbage-collected with it.
    loadedBy.delete(name);
    return {};
  }
  // Its kubelet has not reported yet, so nothing is known of what it has.
  if (node.kernelRelease === '') return {};
  const present = nodeModules.get({ name });
  const plan = planNodeModules({
    node,
    wanted: wantedModules(caches.modules.list(), node),
    pods: caches.pods.byIndex('node', name),
    present,
    loadedBy: loadedBy.get(name) ?? new Map<string, LoadedBy>(),
  });
  // Entries of an earlier boot are kept, to recognise pods that have not been started since.
  loadedBy.set(name, new Map([...(loadedBy.get(name) ?? []), ...plan.loadedBy]));
  if (plan.spec.length === 0 && plan.status.length === 0) {
    loadedBy.delete(name);
    if (present !== undefined) await remove(client, present, signal);
    return {};
  }
  await write(client, { node, present, plan }, signal);
  return {};
}

/** Writes what differs from what is cached. */
async function write(
  client: ApiClient,
  { node, present, plan }: { node: NodeFacts; present: CachedNodeModules | undefined; plan: NodeModulesPlan },
  signal: AbortSignal,
): Promise<void> {
  const { name } = node;
  const { labels, loadedByKmm } = plan;
  const metadata = {
    labels: { ...withNulls(present?.labels, labels), [managedBy.label]: managedBy.value },
    annotations: { [loadedByKmmAnnotation]: loadedByKmm.length === 0 ? null : loadedByKmm.join(',') },
    ownerReferences: [{ apiVersion: 'v1', kind: 'Node', name, uid: node.uid }],
  };
  const spec = { modules: plan.spec };
  if (present === undefined) {
    const annotations = loadedByKmm.length === 0 ? {} : { [loadedByKmmAnnotation]: loadedByKmm.join(',') };
    const object = { metadata: { ...metadata, name, labels: allOf(labels), annotations }, spec };
    await client.create(nodeModulesConfigs, object, { signal });
  } else if (!isWritten(node, present, plan)) {
    await client.patch(nodeModulesConfigs, { name }, { metadata, spec }, { signal });
  }
  if (isSameValue(plan.status, present?.status ?? [])) return;
  const status = { modules: plan.status };
  await client.patch(nodeModulesConfigs, { name }, { status }, { subresource: 'status', signal });
}

function allOf(labels: Readonly<Record<string, string>>): Record<string, string> {
  return { ...labels, [managedBy.label]: managedBy.value };
}

function isWritten(node: NodeFacts, present: CachedNodeModules, plan: NodeModulesPlan): boolean {
  return (
    present.isOurs &&
    present.nodeUid === node.uid &&
    isSameValue(plan.labels, present.labels) &&
    isSameValue(plan.loadedByKmm, present.loadedByKmm) &&
    isSameValue(plan.spec, present.spec)
  );
}

/** Returns labels for a merge patch: null removes one. */
function withNulls(
  present: Readonly<Record<string, string>> | undefined,
  labels: Readonly<Record<string, string>>,
): Record<string, string | null> {
  const removed = Object.keys(present ?? {}).filter((key) => !(key in labels));
  return { ...Object.fromEntries(removed.map((key) => [key, null])), ...labels };
}

async function remove(
  client: ApiClient,
  { name, uid }: CachedNodeModules,
  signal: AbortSignal,
): Promise<void> {
  await client.delete(nodeModulesConfigs, { name }, { uid, signal }).catch(ignoreOutdated);
}

/** Returns whether an event of a node matters: kubelets update nodes all the time. */
function isRelevantChange(event: CacheEvent<NodeFacts>): boolean {
  return event.type !== 'updated' || !isSameValue(nodeParts(event.previous), nodeParts(event.object));
}

function nodeParts({ uid, labels, taints, kernelRelease, bootId }: NodeFacts): unknown {
  return { uid, labels, taints, kernelRelease, bootId };
}

function nodesOfPod(event: CacheEvent<PodFacts>): ObjectKey[] {
  const pod = objectOf(event);
  return isOperandPod(pod) && pod.nodeName !== undefined ? [{ name: pod.nodeName }] : [];
}

/** Returns the nodes that a Module selects or selected, and those with an entry about it. */
function nodesOfModule(
  event: CacheEvent<CachedModule>,
  nodes: readonly NodeFacts[],
  present: readonly CachedNodeModules[],
): ObjectKey[] {
  const versions = event.type === 'updated' ? [event.previous, event.object] : [objectOf(event)];
  const [one, other] = versions.map(relevantParts);
  if (event.type === 'updated' && isSameValue(one, other)) return [];
  const selectors = versions.flatMap(({ module }) => (module === undefined ? [] : [module.spec.selector]));
  const { namespace, name } = event.key;
  const selected = nodes.filter(({ labels }) => selectors.some((selector) => selects(selector, labels)));
  const listed = present.filter(({ spec, status }) =>
    [...spec, ...status].some((entry) => entry.namespace === namespace && entry.name === name),
  );
  return [...new Set([...selected, ...listed].map((found) => found.name))].map((found) => ({ name: found }));
}

/** Returns what NodeModulesConfigs depend on: the status of a Module changes often. */
function relevantParts({ module, metadata }: CachedModule): unknown {
  return {
    spec: module?.spec,
    deleted: metadata.deletionTimestamp,
    images: module?.status?.kernels?.map(({ kernelVersion, digest }) => [kernelVersion, digest ?? '']),
  };
}
