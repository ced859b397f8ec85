import pLimit from 'p-limit';
import type { ManagedClusterModule, ManagedClusterModuleStatus } from '../../api/managed-cluster-module.ts';
import { invalidEvent, statusOfInvalid } from '../module/conditions.ts';
import { isSameValue } from '../runtime/same-value.ts';
import { isApiError } from '../runtime/api/errors.ts';
import type { ReconcileResult } from '../runtime/controller.ts';
import type { ObjectKey } from '../runtime/api/object-key.ts';
import { planCluster, type ClusterPlan, type PlanOptions } from './clusters/cluster-plan.ts';
import type { ImageBoard } from './images/image-board.ts';
import { limitImages, type LimitedWants } from './images/image-limit.ts';
import { imageStatuses } from './images/image-statuses.ts';
import { selects } from '../observe/cluster/resources.ts';
import type { CachedManagedCluster } from './fleet/cached-managed-cluster.ts';
import { createModuleView, type ModuleView } from './module-view.ts';
import { managedClusterModules } from './fleet/resources.ts';
import { managedClusterModuleStatusOf } from './clusters/module-status.ts';
import type { CachedManifestWork } from './fleet/cached-manifest-work.ts';
import { WorkSync } from './work/work-sync.ts';
import { type CachedManagedClusterModule, viewVersionOf } from './fleet/cached-managed-cluster-module.ts';
import { type ClusterResult, appliedResult, failedResult, waitingResult } from './clusters/cluster-status.ts';
import type { HubContext } from './fleet/caches.ts';

/** Requests for one ManagedClusterModule at a time. */
const maxConcurrentWrites = 16;
/** Milliseconds until the cache should have what the API server has. */
const outOfDatePause = 200;

/** Brings ManagedClusterModules to where they should be. */
export class ManagedClusterModuleReconciler {
  readonly #services: HubContext;
  readonly #board: ImageBoard;
  readonly #works: WorkSync;
  readonly #views = new Map<string, ModuleView>();

  constructor(services: HubContext, board: ImageBoard) {
    this.#services = services;
    this.#board = board;
    this.#works = new WorkSync(services.client, services.caches);
  }

  /** @throws AggregateError when clusters failed for a reason that may pass: come again */
  async reconcile(key: ObjectKey, signal: AbortSignal): Promise<ReconcileResult> {
    const cached = this.#services.caches.managedClusterModules.get(key);
    if (cached === undefined || cached.metadata.deletionTimestamp !== undefined) {
      this.#forget(key.name);
      return {};
    }
    if (cached.resource === undefined) return this.#reportInvalid(cached, signal);
    const view = this.#viewOf(cached, cached.resource);
    const isWritten = await this.#reconcileModule(cached, cached.resource, { view, signal });
    return isWritten ? {} : { requeueAfter: outOfDatePause };
  }

  /** @returns whether the status is as it should be */
  async #reconcileModule(
    cached: CachedManagedClusterModule,
    resource: ManagedClusterModule,
    { view, signal }: { readonly view: ModuleView; readonly signal: AbortSignal },
  ): Promise<boolean> {
    const { caches, now = Date.now } = this.#services;
    const clusters = caches.managedClusters
      .list()
      .filter(({ deleting, labels }) => !deleting && selects(resource.spec.selector, labels));
    const releases = countKernels(clusters);
    const { wants, refused } = limitImages(view.wantsFor(releases.keys()), {
      known: cached.images,
      clustersWith: (release) => releases.get(release) ?? 0,
    });
    this.#board.want(view.user, wants);
    const owned = caches.manifestWorks.byIndex('owner', view.user.uid);
    // That one cannot be deleted keeps no cluster from its own.
    const problems = await this.#deleteOthers(owned, clusters, signal);
    const works = new Map(owned.map((work) => [work.key.namespace, work]));
    const results = await this.#reconcileClusters({ view, clusters, works, refused }, signal);
    signal.throwIfAborted();
    const status = managedClusterModuleStatusOf({
      resource,
      clusters: results.map((result) => result.status),
      images: imageStatuses(wants, { board: this.#board, earlier: cached.images }),
      now: new Date(now()).toISOString(),
    });
    const isWritten =
      isSameValue(status, resource.status) || (await this.#writeStatus(cached.metadata, status, signal));
    throwErrors([...problems, ...results.flatMap(({ error }) => (error === undefined ? [] : [error]))]);
    return isWritten;
  }

  /** What ends up as a failed cluster is that cluster's affair; the others go on. */
  async #reconcileClusters(
    {
      view,
      clusters,
      works,
      refused,
    }: {
      readonly view: ModuleView;
      readonly refused: LimitedWants['refused'];
      readonly clusters: readonly CachedManagedCluster[];
      readonly works: ReadonlyMap<string | undefined, CachedManifestWork>;
    },
    signal: AbortSignal,
  ): Promise<ClusterResult[]> {
    const plans = new Map<string, ClusterPlan>();
    const planOf = ({ kernels }: CachedManagedCluster): ClusterPlan => {
      const key = `${kernels.published}\n${kernels.releases.join('\n')}`;
      const outcomeOf: PlanOptions['outcomeOf'] = (target) =>
        refused.get(target) ?? this.#board.outcome(target);
      const plan = plans.get(key) ?? planCluster(kernels, { ...view, outcomeOf });
      plans.set(key, plan);
      return plan;
    };
    const planned = clusters.map((cluster) => ({ cluster, plan: planOf(cluster) }));
    const digests = [...plans.values()]
      .flatMap((plan) => (plan.type === 'apply' ? plan.images : []))
      .map(({ target, digest }) => `${target.kernel.release} ${digest}`);
    const make = view.factoryFor([...new Set(digests)].toSorted().join('\n'));
    const limit = pLimit(maxConcurrentWrites);
    return Promise.all(
      planned.map(async ({ cluster, plan }) => {
        const { name } = cluster;
        const before = works.get(name);
        if (plan.type !== 'apply') return waitingResult(name, plan, before);
        return limit(async () => {
          try {
            const current = await this.#works.apply(make(name, plan.images), signal);
            return appliedResult(cluster, plan, { current, before, manifestWork: view.user.name });
          } catch (error) {
            return failedResult(name, plan, error);
          }
        });
      }),
    );
  }

  async #deleteOthers(
    owned: readonly CachedManifestWork[],
    clusters: readonly CachedManagedCluster[],
    signal: AbortSignal,
  ): Promise<unknown[]> {
    const selected = new Set<string | undefined>(clusters.map(({ name }) => name));
    const limit = pLimit(maxConcurrentWrites);
    const deleted = await Promise.allSettled(
      owned
        .filter(({ key }) => !selected.has(key.namespace))
        .map((work) => limit(() => this.#works.delete(work, signal))),
    );
    return deleted.flatMap((one) => (one.status === 'rejected' ? [one.reason as unknown] : []));
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

  /** What it owns is collected with it; what it wanted is not wanted any more. */
  #forget(name: string): void {
    const view = this.#views.get(name);
    if (view !== undefined) this.#board.drop(view.user.uid);
    this.#views.delete(name);
  }

  /** What clusters have stays. */
  async #reportInvalid(cached: CachedManagedClusterModule, signal: AbortSignal): Promise<ReconcileResult> {
    const { events, now = Date.now } = this.#services;
    const { metadata, problem, rawStatus } = cached;
    // What was known stays known.
    const status = { ...cached.status, ...statusOfInvalid(cached, now()) };
    if (isSameValue(status, rawStatus) || !(await this.#writeStatus(metadata, status, signal))) return {};
    events.record({ resource: managedClusterModules, object: { metadata }, ...invalidEvent(problem) });
    return {};
  }

  /** Writes a status over the one that was seen. @returns false when there is another one meanwhile */
  async #writeStatus(
    { name, uid, resourceVersion }: CachedManagedClusterModule['metadata'],
    status: ManagedClusterModuleStatus,
    signal: AbortSignal,
  ): Promise<boolean> {
    const options = { subresource: 'status', force: true, signal };
    const object = { metadata: { name, uid, resourceVersion }, status };
    try {
      await this.#services.client.apply(managedClusterModules, object, options);
      return true;
    } catch (error) {
      if (!isApiError(error, 'CONFLICT', 'NOT_FOUND')) throw error;
      return false;
    }
  }
}

/** How many clusters have each kernel. */
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
