import type { ClusterStatus } from '../../api/managed-cluster-module.ts';
import type { FeedbackCounters } from './feedback.ts';
import type { WorkFacts } from './work-facts.ts';

/** What a ManifestWork says of its cluster. */
export type WorkStatus = Omit<ClusterStatus, 'name' | 'kernels'>;

/** As long as an agent has not tried. */
export const waitingForAgent = {
  phase: 'Applying',
  reason: 'WaitingForAgent',
  message: 'The work agent has not applied the Module yet',
} as const;

/** Reads how far a cluster is with the Module that its ManifestWork holds. */
export function workStatus(work: WorkFacts): WorkStatus {
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

function phaseOf(work: WorkFacts, degraded: boolean): Pick<ClusterStatus, 'phase' | 'reason' | 'message'> {
  const { applied, problem, feedback, deleting } = work;
  // The agent takes from the cluster what it holds, whatever it still says of it.
  if (deleting) {
    return {
      phase: 'Applying',
      reason: 'WorkDeleting',
      message: 'The ManifestWork is being deleted; it is made anew when it is gone',
    };
  }
  if (applied === false)
    return { phase: 'Failed', reason: problem?.reason || 'NotApplied', message: problem?.message };
  if (applied === undefined) return waitingForAgent;
  if (feedback.current === false) {
    return {
      phase: 'Applied',
      reason: 'WaitingForOperator',
      message: 'The operator has not seen the Module yet',
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

/** KMM's own operator has no conditions: there the counters tell. */
function countedPhase({
  available,
  desired,
}: FeedbackCounters): Pick<ClusterStatus, 'phase' | 'reason' | 'message'> {
  if (available === undefined || desired === undefined) {
    return {
      phase: 'Applied',
      reason: 'NoFeedback',
      message: 'The operator has said nothing of the Module yet',
    };
  }
  if (available >= desired) return { phase: 'Ready' };
  return {
    phase: 'Applied',
    reason: 'NodesNotReady',
    message: `${available} of ${desired} nodes have the kernel module`,
  };
}
