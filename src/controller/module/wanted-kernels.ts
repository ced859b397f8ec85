import type { ModuleTarget } from '../../builder/target.ts';
import { KmmError } from '../../shared/errors.ts';
import { resolveTarget } from '../kernel-mapping/resolve-target.ts';
import { moduleNameOf, type NamedModule } from './named-module.ts';
import type { NodeGroup } from './node-groups.ts';

/** A kernel that a mapping is for. */
export interface WantedKernel {
  readonly group: NodeGroup;
  /** Or why there is none. */
  readonly target: ModuleTarget | KmmError;
}

/** The kernels that a Module's mappings are for. One that cannot be resolved does not hold up the others. */
export function wantedKernels(module: NamedModule, groups: readonly NodeGroup[]): WantedKernel[] {
  return groups.flatMap((group): WantedKernel[] => {
    try {
      const target = resolveTarget({ module: moduleNameOf(module), spec: module.spec, kernel: group.kernel });
      return target === undefined ? [] : [{ group, target }];
    } catch (error) {
      if (error instanceof KmmError) return [{ group, target: error }];
      throw error;
    }
  });
}
