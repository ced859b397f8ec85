import type { BootModuleConfigSpec } from '../boot-module-config.ts';
import type { Findings, Violation } from '../schema/resource.ts';
import { isDnsSubdomain, isLabelValue } from './patterns.ts';

/** What may stand in a unit of systemd and in a shell without quotes. */
const harmless = {
  module: /^[A-Za-z0-9_-]+$/,
  path: /^(\/[A-Za-z0-9_@+=:,.-]+)+\/?$/,
  repository: /^[a-z0-9.-]+(:[0-9]+)?(\/[a-z0-9]+([._-]+[a-z0-9]+)*)+$/,
  image: /^[A-Za-z0-9._/:@-]+$/,
} as const;

/** The name of a unit has at most 255 characters, and ours end in `-pull-kernel-module-image.service`. */
const maxMachineConfigName = 200;

/** Checks what a schema cannot say. Values end up in units of systemd and in scripts that root runs. */
export function checkBootModuleConfig(spec: BootModuleConfigSpec): Findings {
  const { inTreeModulesToRemove = [], inTreeModuleToRemove = '' } = spec;
  const violations: (Violation | undefined)[] = [
    unless(
      isDnsSubdomain(spec.machineConfigName) && spec.machineConfigName.length <= maxMachineConfigName,
      'machineConfigName',
      'must be a name of an object (lower-case letters, digits, - and .)',
    ),
    unless(
      spec.machineConfigPoolName !== '' && isLabelValue(spec.machineConfigPoolName),
      'machineConfigPoolName',
      'must be the name of a MachineConfigPool, such as worker',
    ),
    unless(
      harmless.repository.test(spec.kernelModuleImage),
      'kernelModuleImage',
      'must be an image with its registry and without a tag or digest, such as quay.io/vendor/driver',
    ),
    ...[spec.kernelModuleName, ...inTreeModulesToRemove, ...some(inTreeModuleToRemove)].map((name, index) =>
      unless(
        harmless.module.test(name),
        index === 0 ? 'kernelModuleName' : 'inTreeModulesToRemove',
        `${JSON.stringify(name)} is not the name of a module`,
      ),
    ),
    unless(
      inTreeModuleToRemove === '' || inTreeModulesToRemove.length === 0,
      'inTreeModuleToRemove',
      'cannot be set beside inTreeModulesToRemove',
    ),
    unless(
      (spec.firmwareFilesPath ?? '') === '' || isPath(spec.firmwareFilesPath ?? ''),
      'firmwareFilesPath',
      'must be an absolute path of letters, digits and _@+=:,.-',
    ),
    unless(
      (spec.workerImage ?? '') === '' || harmless.image.test(spec.workerImage ?? ''),
      'workerImage',
      'must be an image',
    ),
  ];
  return { errors: violations.filter((one) => one !== undefined), warnings: [] };
}

function isPath(text: string): boolean {
  return harmless.path.test(text) && !text.split('/').includes('..');
}

function some(text: string): string[] {
  return text === '' ? [] : [text];
}

function unless(isRight: boolean, field: string, message: string): Violation | undefined {
  return isRight ? undefined : { path: `spec.${field}`, message };
}
