import type { V1Toleration } from '@kubernetes/client-node';
import { nonEmpty } from '../schema/resource.ts';
import type { Violation } from '../schema/violation.ts';
import { isLabelValue, isQualifiedName } from './patterns.ts';

const effects: readonly (string | undefined)[] = ['NoSchedule', 'PreferNoSchedule', 'NoExecute', undefined];

/** Checks tolerations as the API server does for pods. */
export function checkTolerations(tolerations: readonly V1Toleration[], path: string): Violation[] {
  return tolerations.flatMap((toleration, index) =>
    problems(toleration).map((message) => ({ path: `${path}[${index}]`, message })),
  );
}

function problems(toleration: V1Toleration): string[] {
  const { tolerationSeconds } = toleration;
  const [key, operator, value, effect] = [
    toleration.key,
    toleration.operator,
    toleration.value,
    toleration.effect,
  ].map(nonEmpty);
  const found: string[] = [];
  if (key !== undefined && !isQualifiedName(key))
    found.push(`${JSON.stringify(key)} is not the key of a taint`);
  if (key === undefined && operator !== 'Exists') found.push('operator must be Exists when key is empty');
  if (operator !== undefined && operator !== 'Exists' && operator !== 'Equal') {
    found.push(`operator must be Equal or Exists, not ${JSON.stringify(operator)}`);
  }
  if (operator === 'Exists' && value !== undefined) found.push('value must be empty when operator is Exists');
  if (operator !== 'Exists' && value !== undefined && !isLabelValue(value)) {
    found.push(`${JSON.stringify(value)} is not the value of a taint`);
  }
  if (!effects.includes(effect)) {
    found.push(`effect must be NoSchedule, PreferNoSchedule or NoExecute, not ${JSON.stringify(effect)}`);
  }
  if (tolerationSeconds !== undefined && effect !== 'NoExecute') {
    found.push('effect must be NoExecute when tolerationSeconds is set');
  }
  return found;
}
