import type { Logger } from '../../../shared/logger.ts';
import { nodeLabels } from '../../../builder/labels.ts';
import type { CachedModule, ClusterCaches } from '../../observe/cluster/caches.ts';
import { projectNode, type NodeFacts, type PodFacts } from '../../observe/cluster/projections.ts';
import { selects, nodes, type Node } from '../../observe/cluster/resources.ts';
import type { ApiClient } from '../../runtime/api/client.ts';
import type { CacheEvent } from '../../runtime/cache/informer.ts';
import { Controller, type Reconcile } from '../../runtime/controller.ts';
import { isApiError } from '../../runtime/api/errors.ts';
import type { EventRecorder, EventSpec } from '../../runtime/event-recorder.ts';
import type { RuntimeMetrics } from '../../runtime/metrics.ts';
import type { ObjectKey } from '../../runtime/api/object-key.ts';
import { ConfirmedUnloads } from './confirmed-unloads.ts';
import { isRelevantLabel, labelChanges } from './label-changes.ts';
import { ModuleIndex, isOperandPod } from './pods-by-module.ts';

/** The services of the controller of node labels. */
export interface NodeLabelsOptions {
  readonly client: ApiClient;
  readonly caches: Pick<ClusterCaches, 'nodes' | 'pods' | 'modules'>;
  readonly events: EventRecorder;
  readonly log?: Logger | undefined;
  readonly metrics?: RuntimeMetrics | undefined;
}

const controllerName = 'NodeLabels';
/** Nodes patched concurrently. */
const maxConcurrent = 4;

/**
 * Creates the controller that maintains our labels on nodes: the kernel, the Modules that are loaded, and the
 * versions that may run. Its keys are names of nodes.
 */
export function createNodeLabelsController(options: NodeLabelsOptions): Controller {
  const { caches, log, metrics } = options;
  const index = new ModuleIndex();
  caches.modules.onEvent(({ type, key }) => {
    if (type === 'deleted') index.delete(moduleName(key));
    else if (type === 'added') index.add(moduleName(key));
  });
  const controller = new Controller({
    name: controllerName,
    reconcile: reconciler(options, index),
    maxConcurrent,
    log,
    metrics: metrics?.controller(controllerName, maxConcurrent),
  });
  controller.watch(caches.nodes, nodesOfNodeEvent);
  controller.watch(caches.pods, nodesOfPodEvent);
  controller.watch(caches.modules, (event) => nodesOfModuleEvent(event, () => caches.nodes.list()));
  return controller;
}

function reconciler({ client, caches, events }: NodeLabelsOptions, modules: ModuleIndex): Reconcile {
  const latest = new LatestNodes();
  const unloads = new ConfirmedUnloads();
  return async (key, { signal, log }) => {
    const node = latest.of(key.name, caches.nodes.get(key));
    if (node === undefined) {
      unloads.forget(key.name);
      return {};
    }
    const pods = caches.pods.byIndex('node', key.name);
    for (const name of unloads.take(key.name, pods, modules)) recordUnloaded(events, node, name);
    const { labels, loaded } = labelChanges({ node, pods, modules });
    if (Object.keys(labels).length === 0) return {};
    try {
      const patched = await client.patch(nodes, key, { metadata: { labels } }, { signal });
      latest.keep(projectNode(patched));
      log.info('node labels changed', { node: key.name, labels });
      unloads.loaded(key.name, loaded);
      for (const name of loaded) recordLoaded(events, node, name);
    } catch (error) {
      // The node is gone, and the cache will know soon.
      if (!isApiError(error, 'NOT_FOUND')) throw error;
    }
    return {};
  };
}

function recordLoaded(events: EventRecorder, node: NodeFacts, name: string): void {
  const note = `Module ${name} loaded into the kernel`;
  events.record({ ...aboutNode(node), reason: 'ModuleLoaded', action: 'Load', note });
}

function recordUnloaded(events: EventRecorder, node: NodeFacts, name: string): void {
  const note = `Module ${name} unloaded from the kernel`;
  events.record({ ...aboutNode(node), reason: 'ModuleUnloaded', action: 'Unload', note });
}

function aboutNode({ name, uid }: NodeFacts): Pick<EventSpec<Node>, 'resource' | 'object' | 'type'> {
  return { resource: nodes, object: { metadata: { name, uid } }, type: 'Normal' };
}

function nodesOfNodeEvent(event: CacheEvent<NodeFacts>): ObjectKey[] {
  if (event.type === 'updated' && !isRelevantChange(event.previous, event.object)) return [];
  return [event.key];
}

/**
 * Returns whether a change matters: kubelets update nodes all the time, but rarely what our labels depend on.
 */
function isRelevantChange(previous: NodeFacts, node: NodeFacts): boolean {
  if (previous.uid !== node.uid || previous.kernelRelease !== node.kernelRelease) return true;
  const keys = Object.keys({ ...previous.labels, ...node.labels });
  return keys.some((key) => previous.labels[key] !== node.labels[key] && isRelevantLabel(key));
}

function nodesOfPodEvent(event: CacheEvent<PodFacts>): ObjectKey[] {
  const pods = [
    ...(event.type === 'added' ? [] : [event.previous]),
    ...(event.type === 'deleted' ? [] : [event.object]),
  ];
  const names = pods.filter(isOperandPod).flatMap(({ nodeName }) => nodeName ?? []);
  return names.map((name) => ({ name }));
}

/**
 * Returns the nodes that a Module concerns, when it is added or deleted. Changes of its spec make no
 * difference to labels: they follow pods, and the administrator.
 */
function nodesOfModuleEvent(event: CacheEvent<CachedModule>, listNodes: () => NodeFacts[]): ObjectKey[] {
  if (event.type === 'updated') return [];
  const { module } = event.type === 'added' ? event.object : event.previous;
  const selector = module?.spec.selector ?? {};
  const keys = Object.values(nodeLabels(moduleName(event.key)));
  return listNodes()
    .filter(({ labels }) => selects(selector, labels) || keys.some((key) => key in labels))
    .map(({ name }) => ({ name }));
}

function moduleName({ namespace = '', name }: ObjectKey): { namespace: string; name: string } {
  return { namespace, name };
}

/** Results of our own patches, until the cache has them: else a patch and its events would be repeated. */
export class LatestNodes {
  readonly #patched = new Map<string, NodeFacts>();

  /** Remembers the response to a patch. */
  keep(node: NodeFacts): void {
    this.#patched.set(node.name, node);
  }

  /** Returns the newest known state of a node, given the cached one. */
  of(name: string, cached: NodeFacts | undefined): NodeFacts | undefined {
    const patched = this.#patched.get(name);
    if (cached !== undefined && patched !== undefined && isOlder(cached, patched)) return patched;
    this.#patched.delete(name);
    return cached;
  }
}

const digits = /^\d+$/;

/** Compares resource versions: increasing numbers (Kubernetes API concepts, "Resource versions"). */
function isOlder(one: NodeFacts, other: NodeFacts): boolean {
  const [mine, theirs] = [one.resourceVersion, other.resourceVersion];
  if (!digits.test(mine) || !digits.test(theirs)) return false;
  return BigInt(mine) < BigInt(theirs);
}
