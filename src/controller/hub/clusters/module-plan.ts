import { planCluster, type ClusterPlan, type PlanOptions } from './cluster-plan.ts';
import { failedResult, waitingResult, type ClusterResult } from './cluster-status.ts';
import type { CachedManagedCluster } from '../fleet/cached-managed-cluster.ts';
import type { CachedManifestWork } from '../fleet/cached-manifest-work.ts';
import type { DesiredManifestWork } from '../work/manifest-work.ts';
import type { ModuleView } from './module-view.ts';

/** What a plan for a ManagedClusterModule is made from. */
export interface ModuleSituation {
  readonly view: ModuleView;
  /** Those that the selector finds and that are not being deleted. */
  readonly clusters: readonly CachedManagedCluster[];
  /** All ManifestWorks of the ManagedClusterModule. */
  readonly owned: readonly CachedManifestWork[];
  readonly outcomeOf: PlanOptions['outcomeOf'];
}

/** What is to be done for one cluster. */
export type ClusterAction =
  /** Nothing is written: the result is known. */
  | { readonly type: 'report'; readonly result: ClusterResult }
  | {
      readonly type: 'apply';
      readonly cluster: CachedManagedCluster;
      readonly plan: ClusterPlan;
      readonly desired: DesiredManifestWork;
      /** The ManifestWork that the cluster has. */
      readonly before: CachedManifestWork | undefined;
    };

/** What is to be done for a ManagedClusterModule. */
export interface ModulePlan {
  /** ManifestWorks of clusters that are not selected any more. */
  readonly deletes: readonly CachedManifestWork[];
  /** One for each cluster, in the order of the clusters. */
  readonly actions: readonly ClusterAction[];
}

/** Plans what is to be done for a ManagedClusterModule. A cluster that cannot get its Module does not affect others. */
export function planModule({ view, clusters, owned, outcomeOf }: ModuleSituation): ModulePlan {
  const selected = new Set<string | undefined>(clusters.map(({ name }) => name));
  const works = new Map(owned.map((work) => [work.key.namespace, work]));
  const plans = new Map<string, ClusterPlan>();
  const planOf = ({ kernels }: CachedManagedCluster): ClusterPlan => {
    // A fleet has few sets of kernels and many clusters.
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

/** Equal for plans with the same images. */
function digestsOf(plans: readonly ClusterPlan[]): string {
  const digests = plans
    .flatMap((plan) => (plan.type === 'apply' ? plan.images : []))
    .map(({ target, digest }) => `${target.kernel.release} ${digest}`);
  return [...new Set(digests)].toSorted().join('\n');
}
