import { parseDocument } from 'yaml';
import * as z from 'zod';
import type { NodeFeatureDiscoverySpec } from '../../../api/nfd/node-feature-discovery.ts';
import { compileRegularExpression } from '../../../api/schema/regular-expression.ts';

/** Returns what of a resource would keep NFD from running: a sentence for each field. */
export function findProblems({
  labelWhiteList,
  workerConfig,
  customConfig,
}: NodeFeatureDiscoverySpec): string[] {
  const pattern = compileRegularExpression(labelWhiteList ?? '');
  return [
    ...(pattern instanceof Error ? [`spec.labelWhiteList: ${pattern.message}`] : []),
    ...yamlProblems('spec.workerConfig.configData', workerConfig?.configData),
    ...yamlProblems('spec.customConfig.configData', customConfig?.configData),
  ];
}

function yamlProblems(path: string, text = ''): string[] {
  const [error] = parseDocument(text).errors;
  return error === undefined ? [] : [`${path}: this is not YAML: ${error.message.split('\n')[0] ?? ''}`];
}

/** Returns which fields have no effect any more, and what to use instead: a sentence for each. */
export function findIgnoredFields(spec: NodeFeatureDiscoverySpec, namespace: string): string[] {
  const { operand = {}, resourceLabels = [] } = spec;
  const elsewhere = operand.namespace !== undefined && operand.namespace !== namespace;
  return [
    ...(elsewhere ? [`spec.operand.namespace: NFD runs in the namespace of this object, ${namespace}`] : []),
    ...(operand.servicePort === undefined
      ? []
      : ['spec.operand.servicePort: NFD has no service any more; its workers write NodeFeature objects']),
    ...(resourceLabels.length === 0
      ? []
      : ['spec.resourceLabels: extended resources are published by extendedResources of a NodeFeatureRule']),
    ...legacyRules('spec.customConfig.configData', customRules(spec)),
    ...legacyRules('spec.workerConfig.configData: sources.custom', workerRules(spec)),
  ];
}

const rules = z.array(
  z.looseObject({ name: z.string().catch('without a name'), matchOn: z.unknown().optional() }),
);
type Rule = z.output<typeof rules>[number];

/** Returns the rules of a text that this version of NFD understands, as YAML's values; undefined if there are none. */
export function currentCustomRules(spec: NodeFeatureDiscoverySpec): readonly Rule[] | undefined {
  const current = customRules(spec).filter(({ matchOn }) => matchOn === undefined);
  return current.length === 0 ? undefined : current;
}

function customRules({ customConfig }: NodeFeatureDiscoverySpec): Rule[] {
  return rules.safeParse(parseYaml(customConfig?.configData)).data ?? [];
}

function workerRules({ workerConfig }: NodeFeatureDiscoverySpec): Rule[] {
  const file = z.looseObject({ sources: z.looseObject({ custom: rules }) });
  return file.safeParse(parseYaml(workerConfig?.configData)).data?.sources.custom ?? [];
}

function parseYaml(text = ''): unknown {
  const document = parseDocument(text);
  return document.errors.length === 0 ? document.toJS() : undefined;
}

function legacyRules(where: string, all: readonly Rule[]): string[] {
  return all
    .filter(({ matchOn }) => matchOn !== undefined)
    .map(
      ({ name }) =>
        `${where}: the rule ${JSON.stringify(name)} says matchOn, which NFD does not know any more; write a NodeFeatureRule with matchFeatures`,
    );
}
