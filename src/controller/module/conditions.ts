import type * as z from 'zod';
import type { condition as conditionSchema } from '../../api/schema/kubernetes.ts';

export type Condition = z.output<typeof conditionSchema>;

/** A condition without its times. */
export type Finding = Pick<Condition, 'type' | 'status' | 'reason' | 'message'>;

/** Findings as conditions: the time of the last change of `status` is carried over. */
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
