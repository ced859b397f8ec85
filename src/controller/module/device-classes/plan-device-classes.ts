import type { DeviceClassSpec } from '../../../api/module/spec.ts';
import { commonLabels, labelKeys, type ModuleName } from '../../../builder/labels.ts';
import { labelValue } from '../../../builder/names.ts';
import { isSameValue } from '../../runtime/same-value.ts';
import { draDriverRole } from '../loading/dra-driver.ts';
import type { CachedDeviceClass } from './device-class-cache.ts';

/** What makes a Module's DeviceClasses as it says. */
export interface DeviceClassPlan {
  readonly create: readonly DeviceClassSpec[];
  /** Those that differ, and how they should be. */
  readonly change: readonly { readonly present: CachedDeviceClass; readonly wanted: DeviceClassSpec }[];
  readonly remove: readonly CachedDeviceClass[];
  /** Names that DeviceClasses of others have. They stay as they are. */
  readonly foreign: readonly string[];
}

/** Compares the DeviceClasses that a Module wants with all that are there. */
export function planDeviceClasses(
  module: ModuleName,
  wanted: readonly DeviceClassSpec[],
  present: readonly CachedDeviceClass[],
): DeviceClassPlan {
  const byName = new Map(present.map((one) => [one.name, one]));
  const own = wanted.flatMap((one) => {
    const there = byName.get(one.name);
    return there === undefined || !isOf(module, there) ? [] : [{ present: there, wanted: one }];
  });
  return {
    create: wanted.filter(({ name }) => !byName.has(name)),
    change: own.filter((one) => !isAsWanted(module, one)),
    remove: present.filter((one) => isOf(module, one) && !wanted.some(({ name }) => name === one.name)),
    foreign: wanted.flatMap(({ name }) => {
      const there = byName.get(name);
      return there === undefined || isOf(module, there) ? [] : [name];
    }),
  };
}

/** Returns the labels of a Module's DeviceClasses. They have no namespace, so they cannot have a Module as owner. */
export function deviceClassLabels({ namespace, name }: ModuleName): Record<string, string> {
  return { ...commonLabels(name, draDriverRole), [labelKeys.moduleNamespace]: namespace };
}

/** Returns the label selector of a Module's DeviceClasses, also of those that KMM has created. */
export function deviceClassSelector({ namespace, name }: ModuleName): string {
  return `${labelKeys.moduleName}=${labelValue(name)},${labelKeys.moduleNamespace}=${namespace}`;
}

function isOf({ namespace, name }: ModuleName, { labels }: CachedDeviceClass): boolean {
  return labels[labelKeys.moduleName] === labelValue(name) && labels[labelKeys.moduleNamespace] === namespace;
}

function isAsWanted(
  module: ModuleName,
  { present, wanted }: { readonly present: CachedDeviceClass; readonly wanted: DeviceClassSpec },
): boolean {
  const labels = Object.entries(deviceClassLabels(module));
  return (
    labels.every(([key, value]) => present.labels[key] === value) &&
    isSameValue(present.selectors, wanted.selectors ?? []) &&
    isSameValue(present.config, wanted.config ?? [])
  );
}
