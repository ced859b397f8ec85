import { maxListedImages, type ManagedClusterModule } from '../../../api/managed-cluster-module.ts';
import { parseKernel, type Kernel } from '../../../builder/kernel.ts';
import type { ModuleName } from '../../../builder/labels.ts';
import type { ModuleTarget } from '../../../builder/target.ts';
import { KmmError } from '../../../shared/errors.ts';
import { HubError } from '../fleet/errors.ts';
import { resolveTarget } from '../../module/kernel-mapping/resolve-target.ts';
import type { DesiredImage } from './image-work.ts';

/** Characters: a registry's host, a repository and a tag need fewer, and the status lists many of them. */
const maxImageLength = 640;

/** The image that a ManagedClusterModule names for a kernel. */
export type KernelTarget =
  | { readonly type: 'target'; readonly kernel: Kernel; readonly target: ModuleTarget }
  /** No mapping matches: the Module does not apply to nodes with this kernel. */
  | { readonly type: 'unmatched'; readonly kernel: Kernel }
  | { readonly type: 'invalid'; readonly kernel: Kernel; readonly error: KmmError };

/**
 * Returns the Module's name in the clusters. The hub expands templates with it too: MOD_NAMESPACE is always
 * the Module's namespace in the clusters.
 */
export function spokeModuleName({ metadata, spec }: ManagedClusterModule): ModuleName {
  return { namespace: spec.spokeNamespace, name: metadata.name };
}

/**
 * Creates the function that finds the image for a kernel, given as `uname -r` prints it. Results are cached: a fleet has few kernels and many clusters.
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
    if (target === undefined) return { type: 'unmatched', kernel };
    if (target.image.length > maxImageLength) throw imageNameTooLong(target);
    return { type: 'target', kernel, target };
  } catch (error) {
    if (error instanceof KmmError) return { type: 'invalid', kernel, error };
    throw error;
  }
}

function imageNameTooLong({ image, mapping, kernel }: ModuleTarget): HubError {
  return new HubError({
    code: 'IMAGE_NAME_TOO_LONG',
    message: `kernelMappings[${mapping}] yields an image name of ${image.length} characters, and the limit is ${maxImageLength}`,
    facts: { mapping, kernel: kernel.release, length: image.length, limit: maxImageLength },
  });
}

/** The images of a ManagedClusterModule, within the limit. */
export interface LimitedImages {
  readonly desired: readonly DesiredImage[];
  /** Why the targets of further images are refused. */
  readonly refused: ReadonlyMap<ModuleTarget, HubError>;
}

/**
 * Accepts as many images as a status can list: those that are not persisted would be forgotten at every
 * restart. Listed images keep their place; of the others, those for the most clusters come first, so that one
 * cluster with many kernels does not crowd out the rest.
 * @param listed images that the status already lists
 * @param clustersByKernel how many clusters have a kernel, by its release
 */
export function limitImages(
  desired: readonly DesiredImage[],
  listed: { has(image: string): boolean },
  clustersByKernel: ReadonlyMap<string, number>,
): LimitedImages {
  const clusters = new Map<string, number>();
  for (const { target } of desired) {
    const count = clusters.get(target.image) ?? 0;
    clusters.set(target.image, count + (clustersByKernel.get(target.kernel.release) ?? 0));
  }
  if (clusters.size <= maxListedImages) return { desired, refused: new Map() };
  const ordered = Array.from(clusters, ([image, count]) => ({
    image,
    count,
    rank: Number(!listed.has(image)),
  }))
    .toSorted((a, b) => a.rank - b.rank || b.count - a.count || (a.image < b.image ? -1 : 1))
    .map(({ image }) => image);
  const accepted = new Set(ordered.slice(0, maxListedImages));
  const isAccepted = ({ target }: DesiredImage): boolean => accepted.has(target.image);
  const others = desired.filter((image) => !isAccepted(image));
  return {
    desired: desired.filter(isAccepted),
    refused: new Map(others.map((image) => [image.target, tooManyImages(image, clusters.size)])),
  };
}

function tooManyImages(
  { user: { name }, target: { image, kernel } }: DesiredImage,
  images: number,
): HubError {
  return new HubError({
    code: 'TOO_MANY_IMAGES',
    message: `The clusters of ${name} need ${images} images, and the limit for one ManagedClusterModule is ${maxListedImages}`,
    hint: 'Use several ManagedClusterModules for clusters with different kernels.',
    facts: { managedClusterModule: name, image, kernel: kernel.release, limit: maxListedImages },
  });
}
