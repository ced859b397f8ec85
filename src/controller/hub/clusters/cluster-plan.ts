import type { ClusterStatus } from '../../../api/managed-cluster-module.ts';
import { KmmError } from '../../../shared/errors.ts';
import type { ModuleTarget } from '../../../builder/target.ts';
import { describe, reasonOf, type ImageResult } from '../../module/kernel-result.ts';
import type { PublishedKernels } from '../../spoke/kernel-claim.ts';
import type { KernelTarget } from '../images/targets.ts';
import type { KernelImage } from '../work/trimmed-module.ts';

/** Why a cluster does not get its Module yet. */
type Obstacle = Pick<ClusterStatus, 'phase' | 'reason' | 'message'>;

/** What to do for a cluster with certain kernels. */
export type ClusterPlan =
  | { readonly type: 'apply'; readonly kernels: number; readonly images: readonly KernelImage[] }
  /** Not all images have been checked since the start: the cluster keeps what it has. */
  | { readonly type: 'unknown'; readonly kernels: number }
  | { readonly type: 'wait'; readonly kernels: number; readonly obstacle: Obstacle };

export interface PlanOptions {
  /** Whether the Module has a moduleLoader. One without goes to every cluster. */
  readonly loads: boolean;
  readonly resolve: (release: string) => KernelTarget;
  readonly outcomeOf: (target: ModuleTarget) => ImageResult | KmmError | undefined;
}

/** Plans what to do for a cluster: its Module is applied once every image that it needs is ready. */
export function planCluster(
  { published, releases }: PublishedKernels,
  { loads, resolve, outcomeOf }: PlanOptions,
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
