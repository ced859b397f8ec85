import type { Modprobe } from '../module/modprobe.ts';
import { nonEmpty } from '../schema/resource.ts';
import type { Violation } from '../schema/violation.ts';

/** Checks how modprobe is to be run. */
export function checkModprobe(modprobe: Modprobe, path: string): Violation[] {
  const { rawArgs } = modprobe;
  const isNamed = nonEmpty(modprobe.moduleName) !== undefined;
  const found: Violation[] = [];
  if (isNamed && (rawArgs?.load !== undefined || rawArgs?.unload !== undefined)) {
    found.push({ path: `${path}.rawArgs`, message: 'rawArgs cannot be set when moduleName is set' });
  }
  if (!isNamed && (rawArgs?.load === undefined || rawArgs.unload === undefined)) {
    found.push({
      path: `${path}.rawArgs`,
      message: 'load and unload rawArgs must be set when moduleName is unset',
    });
  }
  return [...found, ...checkLoadingOrder(modprobe, `${path}.modulesLoadingOrder`)];
}

function checkLoadingOrder({ moduleName, modulesLoadingOrder }: Modprobe, path: string): Violation[] {
  const order = modulesLoadingOrder ?? [];
  if (order.length === 0) return [];
  const found: Violation[] = [];
  if (order.length === 1) {
    found.push({ path, message: 'if a loading order is defined, at least two values must be defined' });
  }
  if (nonEmpty(moduleName) === undefined) {
    found.push({ path, message: 'if a loading order is defined, moduleName must be set' });
  } else if (order[0] !== moduleName) {
    found.push({ path, message: 'if a loading order is defined, the first element must be moduleName' });
  }
  for (const name of new Set(order.filter((entry, index) => order.indexOf(entry) !== index))) {
    found.push({ path, message: `${JSON.stringify(name)}: duplicate value in the loading order list` });
  }
  return found;
}
