import type { ManagedClusterModule } from '../../../api/managed-cluster-module.ts';
import { builderOf, moduleAnnotations, rebuildsAlways } from '../../module/kernel-result.ts';
import { viewVersionOf } from '../fleet/managed-cluster-modules.ts';
import type { ImageUser, DesiredImage } from '../images/image-work.ts';
import { createManifestWorkFactory, PayloadCache } from '../work/manifest-work.ts';
import { createTargetResolver, type KernelTarget } from '../images/desired-images.ts';

const architectureLabel = 'kubernetes.io/arch';
const defaultArchitecture = 'amd64';

/** What is derived from the spec and the annotations of a ManagedClusterModule, computed once. */
export interface ModuleView {
  /** Equal for equal specs and annotations of one ManagedClusterModule. */
  readonly version: string;
  readonly user: ImageUser;
  /** Whether the Module has a moduleLoader. */
  readonly loads: boolean;
  readonly resolve: (release: string) => KernelTarget;
  /** Returns the images for kernels. The same kernel gives the same target. */
  imagesFor(releases: Iterable<string>): DesiredImage[];
  /** Returns the factory of ManifestWorks for a plan. It makes again only what the plan before has not used. */
  factoryForPlan(): ReturnType<typeof createManifestWorkFactory>;
}

export function createModuleView(resource: ManagedClusterModule, created: string): ModuleView {
  const { metadata } = resource;
  const user: ImageUser = {
    uid: metadata.uid ?? '',
    name: metadata.name,
    created,
    builder: builderOf(resource),
    retry: metadata.annotations?.[moduleAnnotations.retry],
    rebuildsAlways: rebuildsAlways(resource),
  };
  const resolve = createTargetResolver(resource);
  const payloads = new PayloadCache();
  const make = createManifestWorkFactory(resource, payloads);
  return {
    version: viewVersionOf(resource),
    user,
    loads: resource.spec.moduleSpec.moduleLoader !== undefined,
    resolve,
    imagesFor: (releases) =>
      [...releases].map(resolve).flatMap((resolved) => {
        if (resolved.type !== 'target') return [];
        const { target } = resolved;
        return [{ user, target, architecture: architectureOf(resource, target.build?.selector) }];
      }),
    factoryForPlan() {
      payloads.begin();
      return make;
    },
  };
}

/**
 * Returns the architecture that selectors name: that of nodes in clusters, else that of build nodes. Claims do
 * not name one.
 */
function architectureOf(
  { spec }: ManagedClusterModule,
  buildSelector: Readonly<Record<string, string>> | undefined,
): string {
  return (
    spec.moduleSpec.selector[architectureLabel] ?? buildSelector?.[architectureLabel] ?? defaultArchitecture
  );
}
