import * as z from 'zod';
import { conditions } from '../schema/kubernetes.ts';

/**
 * Rules that label nodes. They are those of NFD's own NodeFeatureRule, whose definition checks what is in them: it
 * has more with every version.
 */
export const nodeFeatureRuleSpec = z.object({
  rules: z
    .array(z.looseObject({ name: z.string().describe('Name of the rule.') }))
    .describe('Rules in the form of nfd.k8s-sigs.io/v1alpha1.'),
});

/** Whether NFD has the rules. */
export const nodeFeatureRuleStatus = z.object({
  observedGeneration: z.int().optional(),
  conditions: conditions.optional(),
});

export type NodeFeatureRuleStatus = z.output<typeof nodeFeatureRuleStatus>;
