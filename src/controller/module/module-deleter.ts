import { count } from '../../shared/printable.ts';
import { labelKeys } from '../../builder/labels.ts';
import { labelValue } from '../../builder/names.ts';
import type { CachedModule, ClusterCaches } from '../observe/cluster/caches.ts';
import type { DaemonSetFacts } from '../observe/cluster/projections.ts';
import { daemonSets, modules } from '../observe/cluster/resources.ts';
import type { ApiClient } from '../runtime/api/client.ts';
import { ignoreOutdated } from '../runtime/api/errors.ts';
import type { ReconcileResult } from '../runtime/controller.ts';
import type { EventRecorder } from '../runtime/event-recorder.ts';
import { removeFinalizer } from '../runtime/finalizers.ts';
import { deviceClassFinalizer, type DeviceClassKeeper } from './device-classes/device-class-keeper.ts';
import { toConditions, type Finding } from './conditions.ts';
import type { ModuleStatus } from '../../api/module/module.ts';
import { loaderFinalizer, nextUnloadingStep, type UnloadingStep } from './loading/plan-unloading.ts';
import { describeNodeProblem, findNodeProblems } from './node-problems.ts';

/** The services for deleting Modules. */
export interface DeleterServices {
  readonly client: ApiClient;
  readonly caches: Pick<ClusterCaches, 'daemonSets' | 'pods'>;
  readonly events: EventRecorder;
  readonly deviceClasses: Pick<DeviceClassKeeper, 'release'>;
  readonly loader: { readonly deletionTimeout: number };
  readonly now?: (() => number) | undefined;
}

/** Writes a status unless the Module has changed. */
export type WriteStatus = (status: ModuleStatus) => Promise<void>;

/** Milliseconds after which pods are looked at again while a Module is held. */
const recheckInterval = 5000;

/**
 * Takes the next step of deleting a Module: its DeviceClasses are deleted, its module is unloaded from its nodes,
 * and then the Module is released. Without our finalizers there is nothing to do.
 */
export async function deleteModule(
  services: DeleterServices,
  cached: CachedModule,
  writeStatus: WriteStatus,
  signal: AbortSignal,
): Promise<ReconcileResult> {
  const { client, caches, events, deviceClasses, loader, now = Date.now } = services;
  const { metadata } = cached;
  const { namespace = '', name, uid = '', deletionTimestamp, finalizers = [] } = metadata;
  if (finalizers.includes(deviceClassFinalizer)) {
    // Before the driver goes, so that nobody gets a device any more. An event will follow.
    await deviceClasses.release({ module: { namespace, name }, metadata }, signal);
    return {};
  }
  if (!finalizers.includes(loaderFinalizer)) return {};
  const owned = caches.daemonSets.byIndex('owner', uid);
  const pods = caches.pods.byIndex('operand', `${namespace}/${labelValue(name)}`);
  const step = nextUnloadingStep({
    deletedAt: Date.parse(deletionTimestamp ?? ''),
    now: now(),
    timeout: loader.deletionTimeout,
    annotations: metadata.annotations ?? {},
    daemonSets: owned,
    pods,
  });
  if (step.type === 'release') {
    if (step.reason !== 'clean') recordLeftLoaded(events, cached, step);
    await removeFinalizer(client, modules, { metadata }, loaderFinalizer, { signal }).catch(ignoreOutdated);
    return {};
  }
  for (const { key, uid: owner } of step.remove) {
    // It is there until its pods are gone, so that they are waited for.
    const options = { uid: owner, propagationPolicy: 'Foreground', signal } as const;
    await client.delete(daemonSets, key, options).catch(ignoreOutdated);
  }
  for (const daemonSet of step.unload) await startUnloading(client, daemonSet, signal).catch(ignoreOutdated);
  await writeStatus(statusWhile(cached, step.message, findNodeProblems(pods), now()));
  return { requeueAfter: Math.min(step.remaining, recheckInterval) };
}

/** Has all pods of a loader replaced by ones that only unload. */
function startUnloading(
  client: ApiClient,
  { key, uid }: DaemonSetFacts,
  signal: AbortSignal,
): Promise<unknown> {
  const template = { metadata: { labels: { [labelKeys.loaderMode]: 'unload' } } };
  const updateStrategy = { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: '100%', maxSurge: 0 } };
  return client.patch(daemonSets, key, { metadata: { uid }, spec: { updateStrategy, template } }, { signal });
}

function recordLeftLoaded(
  events: EventRecorder,
  { metadata }: CachedModule,
  { reason, nodes }: Extract<UnloadingStep, { readonly type: 'release' }>,
): void {
  const why = reason === 'skipped' ? 'An annotation asked for it' : 'loader.deletionTimeout has passed';
  events.record({
    resource: modules,
    object: { metadata },
    type: 'Warning',
    reason: 'LeftLoaded',
    action: 'Unload',
    note: `${why}: the Module is deleted though the module may still be in the kernel of ${count(nodes, 'node')}`,
  });
}

/** Returns the status of a Module that is held. */
function statusWhile(
  { metadata, module, status: ofInvalid }: CachedModule,
  message: string,
  problems: ReturnType<typeof findNodeProblems>,
  now: number,
): ModuleStatus {
  const status = module?.status ?? ofInvalid;
  const [problem] = problems;
  const unloading = { reason: 'Unloading', message };
  const findings: Finding[] = [
    { type: 'Ready', status: 'False', ...unloading },
    { type: 'Progressing', status: 'True', ...unloading },
    problem === undefined
      ? { type: 'Degraded', status: 'False', reason: 'AsExpected', message: 'Nothing has failed' }
      : { type: 'Degraded', status: 'True', reason: problem.reason, message: describeNodeProblem(problem) },
  ];
  const { generation } = metadata;
  const conditions = toConditions(findings, {
    earlier: status?.conditions,
    generation,
    now: new Date(now).toISOString(),
  });
  return { ...status, observedGeneration: generation, conditions };
}
