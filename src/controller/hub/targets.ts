import type { ManagedClusterModule } from '../../api/managed-cluster-module.ts';
import { parseKernel, type Kernel } from '../../builder/kernel.ts';
import type { ModuleName } from '../../builder/labels.ts';
import type { ModuleTarget } from '../../builder/target.ts';
import { KmmError } from '../../shared/errors.ts';
import { resolveTarget } from '../kernel-mapping/resolve-target.ts';

/** What a ManagedClusterModule wants for a kernel. */
export type KernelTarget =
  | { readonly type: 'target'; readonly kernel: Kernel; readonly target: ModuleTarget }
  /** No mapping matches: the kernel's nodes are not meant. */
  | { readonly type: 'unmatched'; readonly kernel: Kernel }
  | { readonly type: 'invalid'; readonly kernel: Kernel; readonly error: KmmError };

/**
 * The Module's name in the clusters. The hub expands templates with this name too: MOD_NAMESPACE is the namespace
 * of the Module in the clusters everywhere.
 */
export function spokeModuleName({ metadata, spec }: ManagedClusterModule): ModuleName {
  return { namespace: spec.spokeNamespace, name: metadata.name };
}

/**
 * Makes the function that finds what a ManagedClusterModule wants for a kernel, given as `uname -r` prints it. It
 * remembers: a fleet has few kernels and many clusters.
 */
export function createTargetResolver(resource: ManagedClusterModule): (release: string) => KernelTarget {
  const known = new Map<string, KernelTarget>();
  return (release) => {
    const resolved = known.get(release) ?? resolve(resource, parseKernel(release));
    known.set(release, resolved);
    return resolved;
  };
}

function resolve(resource: ManagedClusterModule, kernel: Kernel): KernelTarget {
  try {
    const module = spokeModuleName(resource);
    const target = resolveTarget({ module, spec: resource.spec.moduleSpec, kernel, shared: true });
    return target === undefined ? { type: 'unmatched', kernel } : { type: 'target', kernel, target };
  } catch (error) {
    if (error instanceof KmmError) return { type: 'invalid', kernel, error };
    throw error;
  }
}
