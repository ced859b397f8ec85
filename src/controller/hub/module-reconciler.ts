import { inParallel } from '../../shared/parallel.ts';
import { planModule, type ClusterAction } from './clusters/module-plan.ts';
import type { ManagedClusterModule, ManagedClusterModuleStatus } from '../../api/managed-cluster-module.ts';
import { invalidEvent, statusOfInvalid } from '../module/conditions.ts';
import { isSameValue } from '../runtime/same-value.ts';
import { isApiError } from '../runtime/api/errors.ts';
import type { ReconcileResult } from '../runtime/controller.ts';
import type { ObjectKey } from '../runtime/api/object-key.ts';
import { metadataOf } from '../runtime/api/resource.ts';
import type { ImageTracker } from './images/image-tracker.ts';
import { limitImages } from './images/desired-images.ts';
import { imageStatuses } from './images/image-statuses.ts';
import { selects } from '../observe/cluster/resources.ts';
import type { CachedManagedCluster } from './fleet/managed-clusters.ts';
import { StatusPace } from './clusters/status-pace.ts';
import { createModuleView, type ModuleView } from './clusters/module-view.ts';
import { managedClusterModules } from './fleet/managed-cluster-modules.ts';
import { managedClusterModuleStatusOf } from './clusters/module-status.ts';
import type { CachedManifestWork } from './fleet/manifest-works.ts';
import { WorkSync } from './work/work-sync.ts';
import { type CachedManagedClusterModule, viewVersionOf } from './fleet/managed-cluster-modules.ts';
import { type ClusterResult, appliedResult, failedResult } from './clusters/cluster-status.ts';
import type { HubContext } from './fleet/caches.ts';

/** Concurrent requests for one ManagedClusterModule. */
const maxConcurrentWrites = 16;
/** Milliseconds until the cache should have caught up with the API server. */
const outOfDatePause = 200;

/** Reconciles ManagedClusterModules. */
export class ManagedClusterModuleReconciler {
  readonly #context: HubContext;
  readonly #tracker: ImageTracker;
  readonly #works: WorkSync;
  readonly #views = new Map<string, ModuleView>();
  readonly #pace: StatusPace;
  /** The resource version over which each status was written last, by name: whoever still sees it sees an old status. */
  readonly #overwritten = new Map<string, string | undefined>();

  /** @param statusInterval milliseconds between two writes of a status that are not urgent */
  constructor(context: HubContext, tracker: ImageTracker, statusInterval: number) {
    this.#pace = new StatusPace(statusInterval);
    this.#context = context;
    this.#tracker = tracker;
    this.#works = new WorkSync(context.client, context.caches);
  }

  /** @throws the error of a cluster that may pass, or an AggregateError if several clusters failed */
  async reconcile(key: ObjectKey, signal: AbortSignal): Promise<ReconcileResult> {
    const cached = this.#context.caches.managedClusterModules.get(key);
    if (cached === undefined || cached.metadata.deletionTimestamp !== undefined) {
      this.#forget(key.name);
      return {};
    }
    if (cached.resource === undefined) return this.#reportInvalid(cached, signal);
    const view = this.#viewOf(cached, cached.resource);
    return { requeueAfter: await this.#reconcileModule(cached, cached.resource, { view, signal }) };
  }

  /** @returns after how many milliseconds the status is to be written; undefined if it is up to date */
  async #reconcileModule(
    cached: CachedManagedClusterModule,
    resource: ManagedClusterModule,
    { view, signal }: { readonly view: ModuleView; readonly signal: AbortSignal },
  ): Promise<number | undefined> {
    const { caches, now = Date.now } = this.#context;
    const clusters = caches.managedClusters
      .list()
      .filter(({ deleting, labels }) => !deleting && selects(resource.spec.selector, labels));
    const clustersByKernel = countKernels(clusters);
    const images = view.imagesFor(clustersByKernel.keys());
    const { desired, refused } = limitImages(images, cached.images, clustersByKernel);
    this.#tracker.register(view.user, desired);
    const { deletes, actions } = planModule({
      view,
      clusters,
      owned: caches.manifestWorks.byIndex('owner', view.user.uid),
      outcomeOf: (target) => refused.get(target) ?? this.#tracker.outcome(target),
    });
    // A failed deletion does not keep any cluster from getting its own ManifestWork.
    const errors = await this.#delete(deletes, signal);
    const results = await this.#execute(actions, signal);
    signal.throwIfAborted();
    const status = managedClusterModuleStatusOf(
      resource,
      results.map((result) => result.status),
      imageStatuses(desired, this.#tracker, cached.images),
      new Date(now()).toISOString(),
    );
    const pause = await this.#updateStatus(
      cached.metadata,
      { before: resource.status, after: status },
      signal,
    );
    throwErrors([...errors, ...results.flatMap(({ error }) => (error === undefined ? [] : [error]))]);
    return pause;
  }

  /** Writes a status if it has changed and it is time to. @returns milliseconds until it has to be looked at again */
  async #updateStatus(
    metadata: CachedManagedClusterModule['metadata'],
    { before, after }: { before: ManagedClusterModuleStatus | undefined; after: ManagedClusterModuleStatus },
    signal: AbortSignal,
  ): Promise<number | undefined> {
    if (isSameValue(before, after)) return undefined;
    const { now = Date.now } = this.#context;
    const { uid = '' } = metadata;
    const delay = this.#pace.delay(uid, { before, after }, now());
    if (delay > 0) return delay;
    if (!(await this.#writeStatus(metadata, after, signal))) return outOfDatePause;
    this.#pace.written(uid, after, now());
    return undefined;
  }

  /** Writes ManifestWorks. An error is the result of its cluster and does not stop the others. */
  async #execute(actions: readonly ClusterAction[], signal: AbortSignal): Promise<ClusterResult[]> {
    const results = new Map<ClusterAction, ClusterResult>();
    const tasks = actions.map((action) => async (taskSignal: AbortSignal) => {
      results.set(action, action.type === 'report' ? action.result : await this.#apply(action, taskSignal));
    });
    await inParallel(tasks, maxConcurrentWrites, signal);
    return actions.flatMap((action) => results.get(action) ?? []);
  }

  async #apply(
    { cluster, plan, desired, before }: Extract<ClusterAction, { type: 'apply' }>,
    signal: AbortSignal,
  ): Promise<ClusterResult> {
    try {
      const current = await this.#works.apply(desired, signal);
      return appliedResult(cluster, plan, { current, before, manifestWork: desired.object.metadata.name });
    } catch (error) {
      return failedResult(cluster.name, plan, error);
    }
  }

  /** @returns why deletions failed */
  async #delete(works: readonly CachedManifestWork[], signal: AbortSignal): Promise<unknown[]> {
    const errors: unknown[] = [];
    const tasks = works.map((work) => async (taskSignal: AbortSignal) => {
      await this.#works.delete(work, taskSignal).catch((error: unknown) => errors.push(error));
    });
    await inParallel(tasks, maxConcurrentWrites, signal);
    return errors;
  }

  #viewOf({ metadata }: CachedManagedClusterModule, resource: ManagedClusterModule): ModuleView {
    const { name } = metadata;
    const known = this.#views.get(name);
    if (known !== undefined && known.version === viewVersionOf(resource)) return known;
    if (known !== undefined && known.user.uid !== metadata.uid) this.#forget(name);
    const view = createModuleView(resource, metadata.creationTimestamp ?? '');
    this.#views.set(name, view);
    return view;
  }

  /** Forgets a deleted ManagedClusterModule. What it owns is garbage-collected by Kubernetes. */
  #forget(name: string): void {
    const view = this.#views.get(name);
    if (view !== undefined) {
      this.#tracker.unregister(view.user.uid);
      this.#pace.forget(view.user.uid);
    }
    this.#views.delete(name);
    this.#overwritten.delete(name);
  }

  /** Reports an invalid ManagedClusterModule. Clusters keep what they have. */
  async #reportInvalid(cached: CachedManagedClusterModule, signal: AbortSignal): Promise<ReconcileResult> {
    const { events, now = Date.now } = this.#context;
    const { metadata, problem, rawStatus } = cached;
    // The rest of the status stays as it is.
    const status = { ...cached.status, ...statusOfInvalid(cached, now()) };
    if (isSameValue(status, rawStatus) || !(await this.#writeStatus(metadata, status, signal))) return {};
    events.record({ resource: managedClusterModules, object: { metadata }, ...invalidEvent(problem) });
    return {};
  }

  /** Writes a status over the one that was read. @returns false if it has changed meanwhile */
  async #writeStatus(
    { name, uid, resourceVersion }: CachedManagedClusterModule['metadata'],
    status: ManagedClusterModuleStatus,
    signal: AbortSignal,
  ): Promise<boolean> {
    if (resourceVersion !== undefined && this.#overwritten.get(name) === resourceVersion) return false;
    const object = { metadata: { name, uid, resourceVersion }, status };
    try {
      // Not by server-side apply, which costs the API server half as much again for a long status.
      const { metadata } = await this.#context.client.replace(metadataOf(managedClusterModules), object, {
        subresource: 'status',
        signal,
      });
      // One that changes nothing leaves the version as it is.
      if (metadata.resourceVersion !== resourceVersion) this.#overwritten.set(name, resourceVersion);
      return true;
    } catch (error) {
      if (!isApiError(error, 'CONFLICT', 'NOT_FOUND')) throw error;
      return false;
    }
  }
}

/** Returns how many clusters have each kernel. */
function countKernels(clusters: readonly CachedManagedCluster[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { kernels } of clusters) {
    for (const release of kernels.releases) counts.set(release, (counts.get(release) ?? 0) + 1);
  }
  return counts;
}

function throwErrors(errors: readonly unknown[]): void {
  const [first, ...others] = errors;
  if (first === undefined) return;
  throw others.length === 0 ? first : new AggregateError(errors, 'several clusters failed');
}
