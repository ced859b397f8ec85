import { posix } from 'node:path';
import type { V1Volume } from '@kubernetes/client-node';
import type { ModuleSpec } from '../module/spec.ts';
import type { Violation } from '../schema/violation.ts';
import { isDnsSubdomain } from './patterns.ts';

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
      return names.indexOf(name) === index ? [] : [{ path: at, message: `${name} is there twice` }];
    }),
  ];
}
