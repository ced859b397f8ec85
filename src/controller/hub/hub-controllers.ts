import type { HubImageStatus } from '../../api/managed-cluster-module.ts';
import { objectOf, type CacheEvent } from '../runtime/cache/informer.ts';
import { Controller, type ControllerOptions } from '../runtime/controller.ts';
import type { ObjectKey } from '../runtime/api/object-key.ts';
import { isSameValue } from '../runtime/same-value.ts';
import type { RuntimeMetrics } from '../runtime/metrics.ts';
import { ImageTracker, imageIdOf } from './images/image-tracker.ts';
import { mayCollect } from './images/image-decisions.ts';
import { conflictReason } from './images/image-work.ts';
import { ImageReconciler } from './images/image-reconciler.ts';
import { JobSlots } from './images/job-slots.ts';
import { ManagedClusterModuleReconciler } from './module-reconciler.ts';
import type { CachedManifestWork } from './fleet/manifest-works.ts';
import { modulesSelecting } from './fleet/managed-clusters.ts';
import type { CachedManagedClusterModule } from './fleet/managed-cluster-modules.ts';
import type { HubContext } from './fleet/caches.ts';

export interface HubControllersOptions {
  readonly metrics?: Pick<RuntimeMetrics, 'controller'> | undefined;
  /** @default 5 ms, doubled up to a minute: no event says when a registry or a cluster's namespace is back */
  readonly backoff?: ControllerOptions['backoff'];
  /** Milliseconds for which changes reported by clusters are batched. @default 1000 */
  readonly feedbackDelay?: number | undefined;
  /** Milliseconds for which the outcomes of images are batched. @default 250 */
  readonly outcomeDelay?: number | undefined;
  /** Milliseconds between two writes of a short status that only shows progress. @default 5000 */
  readonly statusInterval?: number | undefined;
}

/** The hub's controllers and their observable state. */
export interface HubControllers {
  readonly controllers: readonly Controller[];
  /** Returns the number of images whose Jobs are queued behind others. */
  waiting(): number;
  /** Reconciles all images again, for example after the Driver Toolkit's images have changed. */
  refresh(): void;
}

const defaultBackoff = { first: 5, limit: 60_000 };
/** Images reconciled concurrently: they mostly wait for registries. */
const maxConcurrentImages = 64;
const maxConcurrentModules = 4;

/**
 * Creates the hub's controllers. One makes images ready, each once for the whole fleet; the other one gives
 * clusters their ManifestWorks and reports their status.
 */
export function createHubControllers(
  context: HubContext,
  options: HubControllersOptions = {},
): HubControllers {
  const { metrics, backoff = defaultBackoff } = options;
  const { feedbackDelay = 1000, outcomeDelay = 250, statusInterval = 5000 } = options;
  const { caches, references, queue, log, now = Date.now } = context;
  const enqueueImage = (name: string): void => images.enqueue({ name });
  const tracker = new ImageTracker({
    onWork: enqueueImage,
    isBuiltFor: (uid, image) =>
      caches.managedClusterModules.byIndex('uid', uid).some(({ images: known }) => {
        const entry = known.get(image);
        return entry !== undefined && entry.reason !== conflictReason;
      }),
  });
  const slots = new JobSlots({
    limit: 'maxConcurrentJobs' in queue ? queue.maxConcurrentJobs : Infinity,
    jobs: () => caches.jobs.list(),
    wake: enqueueImage,
    now,
  });
  const imageReconciler = new ImageReconciler(context, tracker, slots, (users) => {
    for (const user of users) modules.enqueue(user, outcomeDelay);
  });
  const images = new Controller({
    name: 'hub-image',
    log,
    backoff,
    maxConcurrent: maxConcurrentImages,
    metrics: metrics?.controller('hub-image', maxConcurrentImages),
    reconcile: (key, { signal }) => imageReconciler.reconcile(key, signal),
  });
  const moduleReconciler = new ManagedClusterModuleReconciler(context, tracker, statusInterval);
  const imagesWithJobs = (): Set<string> => new Set(caches.jobs.list().flatMap(({ image }) => image ?? []));
  const modules = new Controller({
    name: 'managed-cluster-module',
    log,
    backoff,
    maxConcurrent: maxConcurrentModules,
    metrics: metrics?.controller('managed-cluster-module', maxConcurrentModules),
    reconcile: async (key, { signal }) => {
      const result = await moduleReconciler.reconcile(key, signal);
      // Jobs of images that are no longer used, including those from before a restart.
      for (const id of imagesWithJobs()) if (tracker.work(id) === undefined) enqueueImage(id);
      return result;
    },
  });

  modules.watch(caches.managedClusterModules, (event) => (changesOnlyStatus(event) ? [] : [event.key]));
  images.watch(caches.managedClusterModules, (event) => {
    if (!changesOnlyStatus(event)) return [];
    // Jobs can be deleted once their result is persisted.
    return changedImages(event)
      .map((entry) => ({ entry, name: imageIdOf(entry.image) }))
      .filter(({ entry, name }) => mayCollect(entry, caches.jobs.byIndex('image', name)))
      .map(({ name }) => ({ name }));
  });
  modules.watch(
    caches.managedClusters,
    (event) => modulesSelecting(event, caches.managedClusterModules.list()),
    feedbackDelay,
  );
  modules.watch(
    caches.manifestWorks,
    (event) => {
      if (!changesWork(event)) return [];
      const { ownerUid } = objectOf(event);
      if (ownerUid === undefined) return [];
      return caches.managedClusterModules.byIndex('uid', ownerUid).map(({ key }) => key);
    },
    feedbackDelay,
  );
  images.watch(caches.jobs, (event) => {
    slots.wakeNext();
    const { image } = objectOf(event);
    return image === undefined || !imageReconciler.isNews(event) ? [] : [{ name: image }];
  });
  images.watch(caches.pods, (event) => {
    const { key, ownerName } = objectOf(event);
    const job = ownerName === undefined ? undefined : caches.jobs.get({ ...key, name: ownerName });
    return job?.image === undefined ? [] : [{ name: job.image }];
  });
  references.onChange((users: readonly ObjectKey[]) => {
    for (const user of users) images.enqueue(user);
  });
  return {
    controllers: [images, modules],
    waiting: () => slots.waiting,
    refresh: () => tracker.all().forEach(enqueueImage),
  };
}

/** Returns the entries of images in a status that have changed. */
function changedImages(event: CacheEvent<CachedManagedClusterModule>): HubImageStatus[] {
  const [before, now] = [
    event.type === 'updated' ? event.previous.images : undefined,
    objectOf(event).images,
  ];
  return [...now.values()].filter((entry) => !isSameValue(entry, before?.get(entry.image)));
}

/** Returns whether only the status has changed: the hub itself wrote that. */
function changesOnlyStatus(event: CacheEvent<CachedManagedClusterModule>): boolean {
  if (event.type !== 'updated') return false;
  const [before, after] = [event.previous, event.object].map(({ metadata }) => [
    metadata.uid,
    metadata.generation,
    metadata.annotations,
    metadata.deletionTimestamp,
  ]);
  return JSON.stringify(before) === JSON.stringify(after);
}

/** Returns whether a change of a ManifestWork matters: agents update their works all the time. */
function changesWork(event: CacheEvent<CachedManifestWork>): boolean {
  return event.type !== 'updated' || JSON.stringify(event.object) !== JSON.stringify(event.previous);
}
