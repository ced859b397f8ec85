import type { ManagedClusterModule } from '../managed-cluster-module.ts';
import type { Findings } from '../schema/violation.ts';
import { checkModuleSpec } from './module-spec.ts';

/** Checks the Module of a ManagedClusterModule as the selected clusters would receive it. */
export function checkManagedClusterModule(
  resource: ManagedClusterModule,
  previous?: ManagedClusterModule,
): Findings {
  return checkModuleSpec({
    name: resource.metadata.name,
    namespace: resource.spec.spokeNamespace,
    spec: resource.spec.moduleSpec,
    previous: previous?.spec.moduleSpec,
    path: 'spec.moduleSpec',
  });
}
