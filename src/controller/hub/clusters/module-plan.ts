import { planCluster, type ClusterPlan, type PlanOptions } from './cluster-plan.ts';
import { failedResult, waitingResult, type ClusterResult } from './cluster-status.ts';
import type { CachedManagedCluster } from '../fleet/cached-managed-cluster.ts';
import type { CachedManifestWork } from '../fleet/cached-manifest-work.ts';
import type { DesiredManifestWork } from '../work/manifest-work.ts';
import type { ModuleView } from './module-view.ts';

/** The input of a plan for a ManagedClusterModule. */
export interface ModuleSituation {
  readonly view: ModuleView;
  /** The clusters that the selector matches and that are not being deleted. */
  readonly clusters: readonly CachedManagedCluster[];
  /** All ManifestWorks of the ManagedClusterModule. */
  readonly owned: readonly CachedManifestWork[];
  readonly outcomeOf: PlanOptions['outcomeOf'];
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
  const planOf = ({ kernels }: CachedManagedCluster): ClusterPlan => {
    // A fleet has many clusters but few distinct sets of kernels.
    const key = `${kernels.published}\n${kernels.releases.join('\n')}`;
    const plan = plans.get(key) ?? planCluster(kernels, { ...view, outcomeOf });
    plans.set(key, plan);
    return plan;
  };
  const planned = clusters.map((cluster) => ({ cluster, plan: planOf(cluster) }));
  const make = view.factoryFor(digestsOf([...plans.values()]));
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

/** Returns a key that is equal for plans with the same images. */
function digestsOf(plans: readonly ClusterPlan[]): string {
  const digests = plans
    .flatMap((plan) => (plan.type === 'apply' ? plan.images : []))
    .map(({ target, digest }) => `${target.kernel.release} ${digest}`);
  return [...new Set(digests)].toSorted().join('\n');
}
