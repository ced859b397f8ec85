import type * as z from 'zod';
import type { condition as conditionSchema } from '../../api/schema/kubernetes.ts';
import type { FullMetadata } from '../observe/cluster/resources.ts';
import type { EventSpec } from '../runtime/event-recorder.ts';

export type Condition = z.output<typeof conditionSchema>;

/** A condition without its times. */
export type Finding = Pick<Condition, 'type' | 'status' | 'reason' | 'message'>;

/** Converts findings to conditions; the time of the last change of `status` is kept. */
export function toConditions(
  findings: readonly Finding[],
  {
    earlier = [],
    generation,
    now,
  }: { earlier?: readonly Condition[] | undefined; generation: number | undefined; now: string },
): Condition[] {
  return findings.map((finding) => {
    const before = earlier.find(({ type }) => type === finding.type);
    return {
      ...finding,
      lastTransitionTime: before?.status === finding.status ? before.lastTransitionTime : now,
      ...(generation === undefined ? {} : { observedGeneration: generation }),
    };
  });
}

/** A Module or ManagedClusterModule that is invalid. */
export interface Invalid<Status> {
  readonly metadata: FullMetadata;
  readonly problem: string | undefined;
  /** Undefined if it cannot be parsed. */
  readonly status?: Status | undefined;
}

interface StatusWithConditions {
  readonly observedGeneration?: number | undefined;
  readonly conditions?: readonly Condition[] | undefined;
}

/** Builds the status of an invalid resource, with times carried over from its previous status. */
export function statusOfInvalid(
  { metadata, problem = '', status }: Invalid<StatusWithConditions>,
  now: number,
): { readonly observedGeneration: number | undefined; readonly conditions: Condition[] } {
  const { generation, creationTimestamp = new Date(0).toISOString() } = metadata;
  const conditions = toConditions(findingsOfInvalid(problem), {
    earlier: status?.conditions,
    generation,
    now: status === undefined ? creationTimestamp : new Date(now).toISOString(),
  });
  return { observedGeneration: generation, conditions };
}

/** Returns the event to record once that status is written. */
export function invalidEvent(problem = ''): Pick<EventSpec<never>, 'type' | 'reason' | 'action' | 'note'> {
  return { type: 'Warning', reason: 'InvalidModule', action: 'Validate', note: problem };
}

function findingsOfInvalid(problem: string): Finding[] {
  const because = { reason: 'InvalidModule', message: problem };
  return [
    { type: 'Ready', status: 'False', ...because },
    { type: 'Progressing', status: 'False', ...because },
    { type: 'Degraded', status: 'True', ...because },
  ];
}
