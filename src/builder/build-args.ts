import { driverToolkitArgument } from './driver-toolkit.ts';
import type { BuildArgument, ModuleTarget } from './target.ts';

/**
 * The arguments of a build: the user's, then KERNEL_VERSION, KERNEL_FULL_VERSION, MOD_NAME, MOD_NAMESPACE and,
 * where its image is given, DTK_AUTO. Ours replace the user's of the same name.
 */
export function buildArguments(target: ModuleTarget, driverToolkitImage?: string): BuildArgument[] {
  const injected: BuildArgument[] = [
    { name: 'KERNEL_VERSION', value: target.kernel.version },
    { name: 'KERNEL_FULL_VERSION', value: target.kernel.version },
    { name: 'MOD_NAME', value: target.module.name },
    { name: 'MOD_NAMESPACE', value: target.module.namespace },
    ...(driverToolkitImage === undefined ? [] : [{ name: driverToolkitArgument, value: driverToolkitImage }]),
  ];
  const taken = new Set(injected.map(({ name }) => name));
  return [...(target.build?.buildArgs ?? []).filter(({ name }) => !taken.has(name)), ...injected];
}
