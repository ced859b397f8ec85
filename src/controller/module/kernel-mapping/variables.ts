import { kernelComponents, type Kernel } from '../../../builder/kernel.ts';
import type { ModuleName } from '../../../builder/labels.ts';
import type { Variables } from './substitute.ts';

/** The variables that image names and paths may use. */
export function templateVariables(kernel: Kernel, module: ModuleName): Variables {
  const { x, y, z, xyz } = kernelComponents(kernel);
  return {
    KERNEL_FULL_VERSION: kernel.version,
    KERNEL_VERSION: kernel.version,
    KERNEL_XYZ: xyz,
    KERNEL_X: x,
    KERNEL_Y: y,
    KERNEL_Z: z,
    MOD_NAME: module.name,
    MOD_NAMESPACE: module.namespace,
  };
}
