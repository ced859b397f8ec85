import type { z } from 'zod';
import type { condition } from '../../api/kubernetes.ts';

/** A condition of a resource's status. */
export type Condition = z.output<typeof condition>;

/** What a condition says now. */
export type Statement = Pick<Condition, 'type' | 'status' | 'reason' | 'message'>;

/** Where statements become conditions. */
export interface ConditionContext {
  readonly previous: readonly Condition[] | undefined;
  readonly observedGeneration: number | undefined;
  readonly now: Date;
}

/** Gives statements the time since when they hold: a condition whose status stays keeps its own. */
export function asConditions(
  statements: readonly Statement[],
  { previous, observedGeneration, now }: ConditionContext,
): Condition[] {
  return statements.map((statement) => {
    const before = previous?.find(({ type }) => type === statement.type);
    const isOld = before?.status === statement.status;
    return {
      ...statement,
      lastTransitionTime: isOld ? before.lastTransitionTime : now.toISOString().replace(/\.\d+Z$/, 'Z'),
      ...(observedGeneration === undefined ? {} : { observedGeneration }),
    };
  });
}
