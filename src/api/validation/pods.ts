import { posix } from 'node:path';
import type { V1Toleration, V1Volume } from '@kubernetes/client-node';
import type { ModuleSpec } from '../module/spec.ts';
import { nonEmpty, type Violation } from '../schema/resource.ts';
import { isDnsSubdomain, isLabelValue, isQualifiedName } from './patterns.ts';

/** Host directories that device plugins may mount. */
const hostDirectories = ['/dev', '/sys', '/var', '/opt', '/run'];

/** Checks the device plugin and the DRA driver. */
export function checkOperands({ devicePlugin, dra }: ModuleSpec, path: string): Violation[] {
  return [
    ...(dra !== undefined && devicePlugin !== undefined
      ? [{ path, message: 'spec.dra and spec.devicePlugin are mutually exclusive' }]
      : []),
    ...checkVolumes(devicePlugin?.volumes ?? [], `${path}.devicePlugin.volumes`),
    ...checkVolumes(dra?.volumes ?? [], `${path}.dra.volumes`),
    ...checkDra(dra, `${path}.dra`),
  ];
}

function checkVolumes(volumes: readonly V1Volume[], path: string): Violation[] {
  return volumes.flatMap(({ hostPath }, index) => {
    if (hostPath === undefined) return [];
    const cleaned = posix.normalize(hostPath.path);
    if (hostDirectories.some((directory) => cleaned === directory || cleaned.startsWith(`${directory}/`))) {
      return [];
    }
    return [
      {
        path: `${path}[${index}].hostPath.path`,
        message: `${hostPath.path} is not below ${hostDirectories.join(', ')}`,
      },
    ];
  });
}

function checkDra(dra: ModuleSpec['dra'], path: string): Violation[] {
  if (dra === undefined) return [];
  const names = (dra.deviceClasses ?? []).map(({ name }) => name);
  return [
    ...(isDnsSubdomain(dra.driverName)
      ? []
      : [
          { path: `${path}.driverName`, message: `${JSON.stringify(dra.driverName)} is not a DNS subdomain` },
        ]),
    ...names.flatMap((name, index) => {
      const at = `${path}.deviceClasses[${index}].name`;
      if (!isDnsSubdomain(name))
        return [{ path: at, message: `${JSON.stringify(name)} is not a DNS subdomain` }];
      return names.indexOf(name) === index ? [] : [{ path: at, message: `${name} is listed twice` }];
    }),
  ];
}

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
