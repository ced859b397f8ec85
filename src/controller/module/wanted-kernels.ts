import type { ModuleTarget } from '../../builder/target.ts';
import { KmmError } from '../../shared/errors.ts';
import { resolveTarget } from './kernel-mapping/resolve-target.ts';
import { moduleNameOf, type NamedModule } from './named-module.ts';
import type { NodeGroup } from './node-groups.ts';

/** A kernel that a mapping is for. */
export interface WantedKernel {
  readonly group: NodeGroup;
  /** Or why there is none. */
  readonly target: ModuleTarget | KmmError;
}

/**
 * The kernels that a Module's mappings are for. One that cannot be resolved does not hold up the others. In a
 * managed cluster, where a hub builds and signs, images are only looked for.
 */
export function wantedKernels(
  module: NamedModule,
  groups: readonly NodeGroup[],
  { managed = false }: { readonly managed?: boolean | undefined } = {},
): WantedKernel[] {
  return groups.flatMap((group): WantedKernel[] => {
    try {
      const target = resolveTarget({ module: moduleNameOf(module), spec: module.spec, kernel: group.kernel });
      if (target === undefined) return [];
      return [{ group, target: managed ? { ...target, build: undefined, sign: undefined } : target }];
    } catch (error) {
      if (error instanceof KmmError) return [{ group, target: error }];
      throw error;
    }
  });
}
