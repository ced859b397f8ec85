import type { ModuleName } from '../../builder/labels.ts';
import type { ModuleTarget } from '../../builder/target.ts';
import type { Kernel } from '../../builder/kernel.ts';
import { KmmError } from '../../shared/errors.ts';
import type { CachedModule } from '../observe/cluster/caches.ts';
import { resolveTarget } from '../module/kernel-mapping/resolve-target.ts';
import { moduleNameOf, namedModule, type NamedModule } from '../module/named-module.ts';
import { failed, succeeded, type Verification } from './verification.ts';

/** A Module with its target, or the verdict if there is nothing to verify. */
export type WantedModule = {
  readonly name: ModuleName;
  readonly uid: string;
} & (
  | { readonly verdict: Verification }
  | { readonly module: NamedModule; readonly target: ModuleTarget; readonly verdict?: undefined }
);

/** Returns the Modules of a cluster that are not being deleted, and what each wants for a kernel. */
export function wantedModules(cached: readonly CachedModule[], kernel: Kernel): WantedModule[] {
  return cached
    .filter(({ metadata }) => metadata.deletionTimestamp === undefined)
    .map((one) => wantedModule(one, kernel));
}

function wantedModule(cached: CachedModule, kernel: Kernel): WantedModule {
  const { namespace = '', name, uid = '' } = cached.metadata;
  const common = { name: { namespace, name }, uid };
  if (cached.module === undefined) return { ...common, verdict: failed(cached.problem ?? '') };
  const module = namedModule(cached, cached.module);
  if (module.spec.moduleLoader === undefined) {
    return { ...common, verdict: succeeded('There is nothing to load: the Module has no moduleLoader') };
  }
  try {
    const target = resolveTarget({ module: moduleNameOf(module), spec: module.spec, kernel });
    if (target !== undefined) return { ...common, module, target };
    return { ...common, verdict: failed(`mapping not found: no kernel mapping is for ${kernel.release}`) };
  } catch (error) {
    if (error instanceof KmmError) return { ...common, verdict: failed(error.message) };
    throw error;
  }
}
