import * as z from 'zod';
import type { ModuleSpec } from '../../../api/module/spec.ts';

/** What a cluster reports about its Module through the ManifestWork's feedback rules. */
export interface ModuleFeedback {
  /** Whether the rest is about the Module's current generation; undefined if its operator does not say. */
  readonly current: boolean | undefined;
  readonly ready: FeedbackCondition | undefined;
  readonly degraded: FeedbackCondition | undefined;
  readonly moduleLoader: FeedbackCounters;
}

export interface FeedbackCondition {
  /** True, False or Unknown. */
  readonly status: string;
  readonly reason: string | undefined;
  readonly message: string | undefined;
}

export interface FeedbackCounters {
  readonly available: number | undefined;
  readonly desired: number | undefined;
}

const counters = {
  available: 'availableNumber',
  desired: 'desiredNumber',
  matching: 'nodesMatchingSelectorNumber',
};
const counted = ['moduleLoader', 'devicePlugin', 'dra'] as const;
const conditionFields = ['status', 'reason', 'message'];

/** A rule that has an agent report a field. */
export interface FeedbackRule {
  readonly name: string;
  /** JSONPath. */
  readonly path: string;
}

const conditionRules: readonly FeedbackRule[] = [
  { name: 'observedGeneration', path: '.status.observedGeneration' },
  { name: 'generation', path: '.metadata.generation' },
  ...['Ready', 'Degraded'].flatMap((type) =>
    conditionFields.map((field) => ({
      name: `${type.toLowerCase()}.${field}`,
      path: `.status.conditions[?(@.type=="${type}")].${field}`,
    })),
  ),
];

/**
 * Returns the feedback rules: KMM's counters by KMM's names, and the conditions Ready and Degraded. There are no counters
 * of parts that the Module does not have. Each rule makes every write of a ManifestWork cost the API server some 2 % more.
 */
export function feedbackRules(spec: Pick<ModuleSpec, (typeof counted)[number]>): FeedbackRule[] {
  const parts = counted.filter((part) => spec[part] !== undefined);
  const names = parts.flatMap((part) => Object.values(counters).map((field) => `${part}.${field}`));
  return [...names.map((name) => ({ name, path: `.status.${name}` })), ...conditionRules];
}

/** The longest text kept from a cluster, in characters. */
const maxText = 512;

const feedbackValues = z
  .array(
    z.object({
      name: z.string(),
      fieldValue: z.object({ integer: z.number().optional(), string: z.string().optional() }),
    }),
  )
  .catch([]);

/** The largest counter that a status can hold. */
const maxCount = 2 ** 31 - 1;

/** Reads `statusFeedback.values` of a manifest. Values without a rule or of another type count as absent. */
export function readFeedback(values: unknown): ModuleFeedback {
  const byName = new Map(feedbackValues.parse(values).map(({ name, fieldValue }) => [name, fieldValue]));
  const text = (name: string): string | undefined => byName.get(name)?.string?.slice(0, maxText);
  const number = (name: string): number | undefined => byName.get(name)?.integer;
  const count = (name: string): number | undefined => {
    const value = number(name);
    // Clusters are not trusted: one number out of range would make the API server reject the whole status.
    return value !== undefined && Number.isInteger(value) && value >= 0 && value <= maxCount
      ? value
      : undefined;
  };
  const condition = (type: string): FeedbackCondition | undefined => {
    const status = text(`${type}.status`);
    if (status === undefined) return undefined;
    return { status, reason: text(`${type}.reason`), message: text(`${type}.message`) };
  };
  const [generation, observed] = [number('generation'), number('observedGeneration')];
  return {
    current: generation === undefined || observed === undefined ? undefined : generation === observed,
    ready: condition('ready'),
    degraded: condition('degraded'),
    moduleLoader: {
      available: count(`moduleLoader.${counters.available}`),
      desired: count(`moduleLoader.${counters.desired}`),
    },
  };
}
