import { objectOf, type CacheEvent } from '../runtime/cache/informer.ts';
import { Controller, type ControllerOptions } from '../runtime/controller.ts';
import type { ObjectKey } from '../runtime/api/object-key.ts';
import { labelKeys } from '../../builder/labels.ts';
import type { ClusterCaches } from '../observe/cluster/caches.ts';
import { requestedKernel, type CachedPreflight } from '../observe/cluster/preflights.ts';
import type { NodeFacts, PodFacts } from '../observe/cluster/projections.ts';
import { selects } from '../observe/cluster/resources.ts';
import { isSameValue } from '../runtime/same-value.ts';
import { problemOf as findProblem } from './node-problems.ts';
import type { CachedDeviceClass } from './device-classes/device-class-cache.ts';
import { ModuleReconciler, type ModuleServices } from './reconcile.ts';

/** Creates the Module controller, with the events that trigger it. */
export function createModuleController(
  services: ModuleServices,
  options: Pick<ControllerOptions, 'maxConcurrent' | 'maxPerNamespace' | 'metrics' | 'backoff'> = {},
): Controller {
  const reconciler = new ModuleReconciler(services, (modules) => {
    for (const module of modules) controller.enqueue(module);
  });
  const { caches, references, log } = services;
  const controller = new Controller({
    ...options,
    name: 'module',
    log,
    reconcile: (key, { signal }) => reconciler.reconcile(key, signal),
  });
  const owners = (uid: string | undefined): ObjectKey[] =>
    uid === undefined ? [] : caches.modules.byIndex('uid', uid).map(({ key }) => key);
  controller.watch(caches.modules);
  controller.watch(caches.nodes, (event) => modulesOfNode(caches, event));
  controller.watch(caches.jobs, (event) => owners(objectOf(event).ownerUid));
  controller.watch(caches.daemonSets, (event) => owners(objectOf(event).ownerUid));
  controller.watch(caches.pods, (event) => [
    ...owners(jobOwner(caches, objectOf(event))),
    ...modulesOfOperand(caches, event),
  ]);
  const { deviceClasses } = services;
  deviceClasses.onAccess(() => {
    for (const { key, module } of caches.modules.list()) {
      if (module?.spec.dra !== undefined) controller.enqueue(key);
    }
  });
  deviceClasses.onEvent((event) => {
    for (const key of modulesOfDeviceClass(caches, event)) controller.enqueue(key);
  });
  if (services.preflights !== undefined) {
    // Jobs for a kernel that is no longer under validation have to be deleted.
    controller.watch(services.preflights.validations, (event) =>
      isNoLongerAskedFor(event) ? caches.modules.list().map(({ key }) => key) : [],
    );
  }
  references.onChange((users) => {
    // Users without a namespace belong to other controllers.
    for (const user of users) if (user.namespace !== undefined) controller.enqueue(user);
  });
  return controller;
}

/** Returns the owner of a pod's Job. Other pods are reflected in the status of their DaemonSet. */
function jobOwner(caches: ClusterCaches, { key, labels, ownerName }: PodFacts): string | undefined {
  if (labels[labelKeys.jobType] === undefined || ownerName === undefined) return undefined;
  return caches.jobs.get({ namespace: key.namespace, name: ownerName })?.ownerUid;
}

/**
 * Returns the Module of a loader's or device plugin's pod, if something keeps the pod from its work or did.
 * That it runs, its DaemonSet says.
 */
function modulesOfOperand({ modules, daemonSets }: ClusterCaches, event: CacheEvent<PodFacts>): ObjectKey[] {
  const [before, after] = [
    event.type === 'added' ? undefined : event.previous,
    event.type === 'deleted' ? undefined : event.object,
  ];
  const { key, labels, ownerName } = objectOf(event);
  const name = labels[labelKeys.moduleName];
  if (labels[labelKeys.role] === undefined || name === undefined) return [];
  const owner =
    ownerName === undefined
      ? undefined
      : daemonSets.get({ namespace: key.namespace, name: ownerName })?.ownerUid;
  const isForeign = owner === undefined;
  if (!isForeign && isSameValue(problemOf(before), problemOf(after)) && after !== undefined) return [];
  return isForeign
    ? [{ namespace: key.namespace ?? '', name }]
    : modules.byIndex('uid', owner).map((module) => module.key);
}

function problemOf(pod: PodFacts | undefined): unknown {
  return pod === undefined ? null : (findProblem(pod) ?? null);
}

/** Returns the Modules that want a DeviceClass of that name. */
function modulesOfDeviceClass(
  { modules }: ClusterCaches,
  { key }: CacheEvent<CachedDeviceClass>,
): ObjectKey[] {
  return modules
    .list()
    .filter(({ module }) => module?.spec.dra?.deviceClasses?.some(({ name }) => name === key.name) === true)
    .map((module) => module.key);
}

/** Returns the Modules that select a node, or did before its labels changed. */
function modulesOfNode({ modules }: ClusterCaches, event: CacheEvent<NodeFacts>): ObjectKey[] {
  if (event.type === 'updated' && !isRelevant(event.previous, event.object)) return [];
  const nodes = event.type === 'updated' ? [event.previous, event.object] : [objectOf(event)];
  return modules
    .list()
    .filter(({ module }) => nodes.some(({ labels }) => selects(module?.spec.selector ?? {}, labels)))
    .map(({ key }) => key);
}

function isNoLongerAskedFor(event: CacheEvent<CachedPreflight>): boolean {
  if (event.type === 'added') return false;
  const now = event.type === 'updated' ? requestedKernel(event.object) : undefined;
  return requestedKernel(event.previous) !== now;
}

/** Returns whether an update matters: nodes are updated all the time, but few updates concern Modules. */
function isRelevant(before: NodeFacts, after: NodeFacts): boolean {
  return factsOf(before) !== factsOf(after);
}

function factsOf(node: NodeFacts): string {
  return JSON.stringify({ ...node, resourceVersion: '' });
}
