import type { ClusterStatus } from '../../api/managed-cluster-module.ts';
import { KmmError } from '../../shared/errors.ts';
import { describe, reasonOf } from '../module/kernel-result.ts';
import type { ClusterPlan } from './cluster-plan.ts';
import type { ManagedClusterFacts } from './managed-cluster.ts';
import type { WorkFacts } from './work-facts.ts';
import { waitingForAgent, workStatus } from './work-status.ts';

/** What became of a cluster. */
export interface ClusterResult {
  readonly status: ClusterStatus;
  /** Why to come again soon. */
  readonly error?: unknown;
}

/** A cluster that does not get its Module yet. */
export function waitingResult(
  name: string,
  plan: Exclude<ClusterPlan, { type: 'apply' }>,
  work: WorkFacts | undefined,
): ClusterResult {
  const { kernels } = plan;
  if (plan.type === 'unknown') {
    const looking = { phase: 'Building', reason: 'Checking', message: 'Images are looked for' } as const;
    return { status: { name, kernels, ...(work === undefined ? looking : workStatus(work)) } };
  }
  // What the cluster has is not what it should have.
  const behind = work === undefined ? {} : { ...workStatus(work), applied: false };
  return { status: { name, kernels, ...behind, ...plan.obstacle } };
}

/** What there is of the ManifestWork of a cluster. */
export interface AppliedWork {
  /** The cached one, if it is as it should be; else it was written just now, and nobody has seen it yet. */
  readonly current: WorkFacts | undefined;
  /** The cached one before. */
  readonly before: WorkFacts | undefined;
  /** Its name. */
  readonly manifestWork: string;
}

/** A cluster that has its ManifestWork. */
export function appliedResult(
  { name, away }: ManagedClusterFacts,
  { kernels }: ClusterPlan,
  { current, before, manifestWork }: AppliedWork,
): ClusterResult {
  const written = {
    ...(before === undefined ? { degraded: false } : workStatus(before)),
    manifestWork,
    applied: false,
    ...waitingForAgent,
  };
  const status = { name, kernels, ...(current === undefined ? written : workStatus(current)) };
  return { status: away ? awayStatus(status) : status };
}

/** Whose agent is away does not apply anything. */
function awayStatus(status: ClusterStatus): ClusterStatus {
  if (status.reason !== waitingForAgent.reason) return status;
  return { ...status, reason: 'ClusterAway', message: 'The hub has not heard of the cluster lately' };
}

/** A cluster whose ManifestWork cannot be written. */
export function failedResult(name: string, { kernels }: ClusterPlan, error: unknown): ClusterResult {
  const reason = error instanceof KmmError ? reasonOf(error.code) : 'InternalError';
  const status = { name, kernels, phase: 'Failed', reason, message: describe(error) } as const;
  // What is too large stays so.
  return error instanceof KmmError && error.code === 'MANIFEST_WORK_TOO_LARGE'
    ? { status }
    : { status, error };
}
