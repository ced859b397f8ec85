import type { CachedManagedCluster } from '../fleet/managed-clusters.ts';
import type { CachedManifestWork } from '../fleet/manifest-works.ts';
import type { KernelImage } from '../work/trimmed-module.ts';
import type { ClusterStatus } from '../../../api/managed-cluster-module.ts';
import type { FeedbackCounters } from '../fleet/feedback.ts';
import { KmmError } from '../../../shared/errors.ts';
import { describe, reasonOf } from '../../module/kernel-result.ts';

/** Why a cluster does not get its Module yet. */
export type Obstacle = Pick<ClusterStatus, 'phase' | 'reason' | 'message'>;

/** What to do for a cluster with certain kernels. */
export type ClusterPlan =
  | { readonly type: 'apply'; readonly kernels: number; readonly images: readonly KernelImage[] }
  /** Not all images have been checked since the start: the cluster keeps what it has. */
  | { readonly type: 'unknown'; readonly kernels: number }
  | { readonly type: 'wait'; readonly kernels: number; readonly obstacle: Obstacle };

/** The outcome for a cluster. */
export interface ClusterResult {
  readonly status: ClusterStatus;
  /** Why to reconcile again soon. */
  readonly error?: unknown;
}

/** Returns the result for a cluster that does not get its Module yet. */
export function waitingResult(
  name: string,
  plan: Exclude<ClusterPlan, { type: 'apply' }>,
  work: CachedManifestWork | undefined,
): ClusterResult {
  const { kernels } = plan;
  if (plan.type === 'unknown') {
    const checking = { phase: 'Building', reason: 'Checking', message: 'Checking images' } as const;
    return { status: { name, kernels, ...(work === undefined ? checking : workStatus(work)) } };
  }
  const outdated = work === undefined ? {} : { ...workStatus(work), applied: false };
  return { status: { name, kernels, ...outdated, ...plan.obstacle } };
}

/** What is known about the ManifestWork of a cluster. */
export interface AppliedWork {
  /** The cached one if it is up to date; undefined if it was just written and is not in the cache yet. */
  readonly current: CachedManifestWork | undefined;
  /** The cached one before this reconcile. */
  readonly before: CachedManifestWork | undefined;
  /** The name of the ManifestWork. */
  readonly manifestWork: string;
}

/** Returns the result for a cluster that has its ManifestWork. */
export function appliedResult(
  { name, available }: CachedManagedCluster,
  { kernels }: ClusterPlan,
  { current, before, manifestWork }: AppliedWork,
): ClusterResult {
  const justWritten = {
    ...(before === undefined ? { degraded: false } : workStatus(before)),
    manifestWork,
    applied: false,
    ...waitingForAgent,
  };
  const status = { name, kernels, ...(current === undefined ? justWritten : workStatus(current)) };
  return { status: available ? status : unavailableStatus(status) };
}

/** Returns the status of a cluster whose agent cannot apply anything at present. */
function unavailableStatus(status: ClusterStatus): ClusterStatus {
  if (status.reason !== waitingForAgent.reason) return status;
  return {
    ...status,
    reason: 'ClusterAway',
    message: 'The agent of the cluster has stopped reporting to the hub',
  };
}

/** Returns the result for a cluster whose ManifestWork cannot be written. */
export function failedResult(name: string, { kernels }: ClusterPlan, error: unknown): ClusterResult {
  const reason = error instanceof KmmError ? reasonOf(error.code) : 'InternalError';
  const status = { name, kernels, phase: 'Failed', reason, message: describe(error) } as const;
  // A retry does not make it smaller.
  return error instanceof KmmError && error.code === 'MANIFEST_WORK_TOO_LARGE'
    ? { status }
    : { status, error };
}

/** What a ManifestWork reports about its cluster. */
export type WorkStatus = Omit<ClusterStatus, 'name' | 'kernels'>;

/** The status until an agent has tried to apply the work. */
export const waitingForAgent = {
  phase: 'Applying',
  reason: 'WaitingForAgent',
  message: 'The work agent has not applied the Module yet',
} as const;

/** Reads how far a cluster is with the Module in its ManifestWork. */
export function workStatus(work: CachedManifestWork): WorkStatus {
  const { feedback } = work;
  const degraded = work.degraded || feedback.degraded?.status === 'True';
  const { available, desired } = feedback.moduleLoader;
  const facts = {
    manifestWork: work.key.name,
    applied: work.applied === true && !work.deleting,
    degraded,
    ...(available === undefined ? {} : { availableNumber: available }),
    ...(desired === undefined ? {} : { desiredNumber: desired }),
  };
  return { ...facts, ...phaseOf(work, degraded) };
}

function phaseOf(
  work: CachedManifestWork,
  degraded: boolean,
): Pick<ClusterStatus, 'phase' | 'reason' | 'message'> {
  const { applied, problem, feedback, deleting } = work;
  // The agent removes what the work applied, even if its conditions are still those from before.
  if (deleting) {
    return {
      phase: 'Applying',
      reason: 'WorkDeleting',
      message: 'The ManifestWork is being deleted; it is recreated after that',
    };
  }
  if (applied === false)
    return { phase: 'Failed', reason: problem?.reason || 'NotApplied', message: problem?.message };
  if (applied === undefined) return waitingForAgent;
  if (feedback.current === false) {
    return {
      phase: 'Applied',
      reason: 'WaitingForOperator',
      message: 'The operator has not observed the Module yet',
    };
  }
  if (degraded) {
    const { reason, message } = feedback.degraded ?? {};
    return { phase: 'Degraded', reason: reason ?? 'WorkDegraded', message };
  }
  if (feedback.ready !== undefined) {
    const { status, reason, message } = feedback.ready;
    return status === 'True' ? { phase: 'Ready' } : { phase: 'Applied', reason, message };
  }
  return countedPhase(feedback.moduleLoader);
}

/** Returns the phase by the counters: KMM's own operator sets no conditions. */
function countedPhase({
  available,
  desired,
}: FeedbackCounters): Pick<ClusterStatus, 'phase' | 'reason' | 'message'> {
  if (available === undefined || desired === undefined) {
    return {
      phase: 'Applied',
      reason: 'NoFeedback',
      message: 'The operator has not reported on the Module yet',
    };
  }
  if (available >= desired) return { phase: 'Ready' };
  return {
    phase: 'Applied',
    reason: 'NodesNotReady',
    message: `${available} of ${desired} nodes have the kernel module`,
  };
}
