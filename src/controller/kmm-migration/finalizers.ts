import { labelKeys } from '../../builder/labels.ts';
import type { Logger } from '../../shared/logger.ts';
import type { CachedModule, ClusterCaches } from '../observe/cluster/caches.ts';
import type { PodFacts } from '../observe/cluster/projections.ts';
import { modules, pods } from '../observe/cluster/resources.ts';
import type { ApiClient } from '../runtime/api/client.ts';
import { ignoreOutdated } from '../runtime/api/errors.ts';
import type { ObjectKey } from '../runtime/api/object-key.ts';
import { Controller, type ReconcileResult } from '../runtime/controller.ts';
import type { RuntimeMetrics } from '../runtime/metrics.ts';

/** Holds Modules of KMM 2.x until their nodes are clean: here DaemonSets see to that. */
const moduleFinalizer = 'kmm.node.kubernetes.io/module-finalizer';

/** Hold pods: of DaemonSets in KMM 1.x, of workers and of builds in KMM 2.x. */
export const podFinalizers: readonly string[] = [
  'kmm.node.kubernetes.io/node-labeler',
  'kmm.node.kubernetes.io/nodemodulesconfig-reconciler',
  'kmm.node.kubernetes.io/gc-delay',
  'kmm.node.kubernetes.io/job-event-finalizer',
];

/** Marks the pods by which KMM 2.x loads and unloads. */
export const workerLabel = 'kmm.node.kubernetes.io/worker-action';

export interface FinalizersOptions {
  readonly client: ApiClient;
  readonly caches: Pick<ClusterCaches, 'modules' | 'pods'>;
  readonly log?: Logger | undefined;
  readonly metrics?: RuntimeMetrics | undefined;
}

/** Creates the controllers that take KMM's finalizers off what nobody else would take them off. */
export function createFinalizerControllers({
  client,
  caches,
  log,
  metrics,
}: FinalizersOptions): Controller[] {
  const create = (
    name: string,
    reconcile: (key: ObjectKey, signal: AbortSignal) => Promise<unknown>,
  ): Controller =>
    new Controller({
      name,
      log,
      metrics: metrics?.controller(name, 1),
      reconcile: async (key, { signal }): Promise<ReconcileResult> => {
        await reconcile(key, signal).catch(ignoreOutdated);
        return {};
      },
    });
  const modulesController = create('kmm-module-finalizers', async (key, signal) => {
    const module = caches.modules.get(key);
    if (module !== undefined && isHeldModule(module)) {
      await setFinalizers(client, modules, { key, ...module.metadata }, [moduleFinalizer], signal);
    }
  });
  modulesController.watch(caches.modules, (event) =>
    event.type !== 'deleted' && isHeldModule(event.object) ? [event.key] : [],
  );
  const podsController = create('kmm-pod-finalizers', async (key, signal) => {
    const pod = caches.pods.get(key);
    if (pod === undefined) return;
    if (isHeldPod(pod)) await setFinalizers(client, pods, pod, podFinalizers, signal);
    // Without KMM, nobody reads its result, and it must not load or unload beside our loaders.
    if (isWorker(pod) && !pod.deleting) await client.delete(pods, key, { uid: pod.uid, signal });
  });
  podsController.watch(caches.pods, (event) =>
    event.type !== 'deleted' && (isHeldPod(event.object) || isWorker(event.object)) ? [event.key] : [],
  );
  return [modulesController, podsController];
}

function isHeldModule({ metadata }: CachedModule): boolean {
  return metadata.deletionTimestamp !== undefined && metadata.finalizers?.includes(moduleFinalizer) === true;
}

/** Returns whether a pod has finalizers that it does not need: its DaemonSet goes on without, or it ends. */
function isHeldPod(pod: PodFacts): boolean {
  const isOfDaemonSet = pod.labels[labelKeys.role] !== undefined;
  return (
    (pod.deleting || isOfDaemonSet || isWorker(pod)) &&
    pod.finalizers.some((one) => podFinalizers.includes(one))
  );
}

function isWorker({ labels }: PodFacts): boolean {
  return labels[workerLabel] !== undefined;
}

/** Removes some finalizers, unless the object has changed meanwhile: an event will follow. */
async function setFinalizers(
  client: ApiClient,
  resource: typeof modules | typeof pods,
  object: {
    readonly key: ObjectKey;
    readonly uid?: string | undefined;
    readonly resourceVersion?: string | undefined;
    readonly finalizers?: readonly string[] | undefined;
  },
  removed: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  const { key, uid, resourceVersion } = object;
  const finalizers = (object.finalizers ?? []).filter((one) => !removed.includes(one));
  const patch = { metadata: { finalizers, uid, resourceVersion } };
  await (resource === pods
    ? client.patch(pods, key, patch, { signal })
    : client.patch(modules, key, patch, { signal }));
}
