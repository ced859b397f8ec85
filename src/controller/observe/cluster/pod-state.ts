import type { Pod } from './resources.ts';

/** What keeps a pod from running. */
export interface PodFailure {
  readonly kind: 'ended' | 'waiting' | 'unscheduled';
  /** Such as `Error`, `ImagePullBackOff` or `Unschedulable`. */
  readonly reason: string;
  /** The termination message, or that of the kubelet or the scheduler. */
  readonly message: string;
}

/** Why a container is waiting. */
export interface PodProblem {
  readonly reason: string;
  readonly message: string;
}

/**
 * Returns whether a pod is ready. A kubelet that was started anew says of containers with a startup probe that they
 * have not started, until it has probed them: they still run, and nothing may end that relies on them.
 */
export function isReady({ status }: Pod): boolean {
  const condition = status?.conditions?.find(({ type }) => type === 'Ready');
  if (condition === undefined || condition.status === 'True') return condition !== undefined;
  const containers = status?.containerStatuses ?? [];
  const since = Date.parse(String(condition.lastTransitionTime));
  return (
    containers.length > 0 &&
    containers.every(({ ready, started, state }) => {
      const { startedAt } = state?.running ?? {};
      // It was ready after it had started: this is the container that was probed.
      return ready || (started === false && startedAt !== undefined && Date.parse(String(startedAt)) < since);
    })
  );
}

/** Reasons for which containers wait without anything being wrong. */
const ordinaryWaits = new Set(['PodInitializing', 'ContainerCreating', 'CrashLoopBackOff', '']);

/** Reasons of containers whose end was not seen: their node was switched off, or has lost them. */
const unseenEnds = new Set(['Unknown', 'ContainerStatusUnknown']);

/** Returns why a pod is not running, if something keeps it from that. */
export function failureOf(pod: Pod): PodFailure | undefined {
  const { status } = pod;
  const deletedAt = deletionRequest(pod);
  const containers = [...(status?.initContainerStatuses ?? []), ...(status?.containerStatuses ?? [])];
  for (const { name, state, lastState, ready } of containers) {
    const { waiting, terminated } = state ?? {};
    const { reason = '', message = '' } = waiting ?? {};
    if (waiting && !ordinaryWaits.has(reason)) return { kind: 'waiting', reason, message };
    const end = terminated ?? lastState?.terminated;
    // What failed before a pod was deleted says nothing of how it ends.
    if (end?.finishedAt !== undefined && Date.parse(String(end.finishedAt)) < deletedAt) continue;
    if (!ready && end && end.exitCode !== 0 && !unseenEnds.has(end.reason ?? '')) {
      const { reason: why = '', message: said = `container ${name} ended with exit code ${end.exitCode}` } =
        end;
      return { kind: 'ended', reason: why, message: said };
    }
  }
  const unscheduled = status?.conditions?.find(
    ({ type, status: value, reason }) =>
      type === 'PodScheduled' && value === 'False' && reason === 'Unschedulable',
  );
  return unscheduled && { kind: 'unscheduled', ...problem(unscheduled) };
}

/** Returns when a pod was asked to end, in milliseconds since 1970; 0 if it was not. */
function deletionRequest({ metadata }: Pod): number {
  const { deletionTimestamp, deletionGracePeriodSeconds = 0 } = metadata;
  return deletionTimestamp === undefined
    ? 0
    : Date.parse(deletionTimestamp) - deletionGracePeriodSeconds * 1000;
}

/** Returns what a container's state or a condition says. */
export function problem({ reason = '', message = '' }: { reason?: string; message?: string }): PodProblem {
  return { reason, message };
}
