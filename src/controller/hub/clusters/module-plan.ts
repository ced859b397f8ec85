import type { ClusterStatus } from '../../../api/managed-cluster-module.ts';
import type { ModuleTarget } from '../../../builder/target.ts';
import { KmmError } from '../../../shared/errors.ts';
import { describe, reasonOf, type ImageResult } from '../../module/kernel-result.ts';
import type { CachedManagedCluster } from '../fleet/managed-clusters.ts';
import type { CachedManifestWork } from '../fleet/manifest-works.ts';
import type { DesiredManifestWork } from '../work/manifest-work.ts';
import type { KernelImage } from '../work/trimmed-module.ts';
import {
  failedResult,
  waitingResult,
  type ClusterPlan,
  type ClusterResult,
  type Obstacle,
} from './cluster-status.ts';
import type { ModuleView } from './module-view.ts';

/** Returns the outcome of an image, or why it is refused; undefined if it has not been checked yet. */
type OutcomeOf = (target: ModuleTarget) => ImageResult | KmmError | undefined;

/** The input of a plan for a ManagedClusterModule. */
export interface ModuleSituation {
  readonly view: ModuleView;
  /** The clusters that the selector matches and that are not being deleted. */
  readonly clusters: readonly CachedManagedCluster[];
  /** All ManifestWorks of the ManagedClusterModule. */
  readonly owned: readonly CachedManifestWork[];
  readonly outcomeOf: OutcomeOf;
}

/** What to do for one cluster. */
export type ClusterAction =
  /** Nothing to write: the result is known. */
  | { readonly type: 'report'; readonly result: ClusterResult }
  | {
      readonly type: 'apply';
      readonly cluster: CachedManagedCluster;
      readonly plan: ClusterPlan;
      readonly desired: DesiredManifestWork;
      /** The ManifestWork that the cluster has. */
      readonly before: CachedManifestWork | undefined;
    };

/** What to do for a ManagedClusterModule. */
export interface ModulePlan {
  /** ManifestWorks of clusters that are no longer selected. */
  readonly deletes: readonly CachedManifestWork[];
  /** One per cluster, in the order of the clusters. */
  readonly actions: readonly ClusterAction[];
}

/** Plans what to do for a ManagedClusterModule. One that cannot get its Module does not affect others. */
export function planModule({ view, clusters, owned, outcomeOf }: ModuleSituation): ModulePlan {
  const selected = new Set<string | undefined>(clusters.map(({ name }) => name));
  const works = new Map(owned.map((work) => [work.key.namespace, work]));
  const plans = new Map<string, ClusterPlan>();
  const planOf = (cluster: CachedManagedCluster): ClusterPlan => {
    const { published, releases } = cluster.kernels;
    // A fleet has many clusters but few distinct sets of kernels.
    const key = `${published}\n${releases.join('\n')}`;
    const plan = plans.get(key) ?? planCluster(cluster, view, outcomeOf);
    plans.set(key, plan);
    return plan;
  };
  const planned = clusters.map((cluster) => ({ cluster, plan: planOf(cluster) }));
  const make = view.factoryForPlan();
  const actions = planned.map(({ cluster, plan }): ClusterAction => {
    const { name } = cluster;
    const before = works.get(name);
    if (plan.type !== 'apply') return { type: 'report', result: waitingResult(name, plan, before) };
    try {
      return { type: 'apply', cluster, plan, desired: make(name, plan.images), before };
    } catch (error) {
      return { type: 'report', result: failedResult(name, plan, error) };
    }
  });
  return { deletes: owned.filter(({ key }) => !selected.has(key.namespace)), actions };
}

/** Plans what to do for one cluster: its Module is applied once every image that it needs is ready. */
function planCluster(
  { kernels: { published, releases } }: CachedManagedCluster,
  { loads, resolve }: ModuleView,
  outcomeOf: OutcomeOf,
): ClusterPlan {
  if (!loads) return { type: 'apply', kernels: 0, images: [] };
  if (!published) {
    return wait(0, 'Pending', 'NoKernels', 'The cluster has not published its kernels in a ClusterClaim');
  }
  const resolved = releases.map(resolve);
  const invalid = resolved.find((one) => one.type === 'invalid');
  const targets = resolved.flatMap((one) => (one.type === 'target' ? [one.target] : []));
  const kernels = targets.length;
  if (invalid !== undefined) {
    const { error, kernel } = invalid;
    return wait(kernels, 'Failed', reasonOf(error.code), `Kernel ${kernel.release}: ${describe(error)}`);
  }
  if (kernels === 0) {
    return wait(0, 'Pending', 'NoKernelMatches', 'No kernel mapping matches a kernel of the cluster');
  }
  const outcomes = targets.map((target) => ({ target, outcome: outcomeOf(target) }));
  const failed = outcomes.flatMap(({ target, outcome }) => failureOf(target, outcome))[0];
  if (failed !== undefined) return { type: 'wait', kernels, obstacle: failed };
  const images: KernelImage[] = [];
  for (const { target, outcome } of outcomes) {
    if (outcome === undefined || outcome instanceof KmmError) return { type: 'unknown', kernels };
    const { digest, phase, reason, message } = outcome.state;
    if (phase !== 'Ready' || digest === undefined) {
      return wait(kernels, 'Building', reason, `Kernel ${target.kernel.release}: ${message}`);
    }
    images.push({ target, digest });
  }
  return { type: 'apply', kernels, images };
}

function failureOf({ kernel }: ModuleTarget, outcome: ImageResult | KmmError | undefined): Obstacle[] {
  if (outcome instanceof KmmError) {
    const message = `Kernel ${kernel.release}: ${describe(outcome)}`;
    return [{ phase: 'Failed', reason: reasonOf(outcome.code), message }];
  }
  if (outcome?.state.phase !== 'Failed') return [];
  const { reason, message } = outcome.state;
  return [{ phase: 'Failed', reason, message: `Kernel ${kernel.release}: ${message}` }];
}

function wait(kernels: number, phase: ClusterStatus['phase'], reason: string, message: string): ClusterPlan {
  return { type: 'wait', kernels, obstacle: { phase, reason, message } };
}
