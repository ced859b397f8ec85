import { maxListedImages, type ManagedClusterModule } from '../../../api/managed-cluster-module.ts';
import { parseKernel, type Kernel } from '../../../builder/kernel.ts';
import type { ModuleName } from '../../../builder/labels.ts';
import type { ModuleTarget } from '../../../builder/target.ts';
import { KmmError } from '../../../shared/errors.ts';
import { HubError } from '../fleet/errors.ts';
import { resolveTarget } from '../../module/kernel-mapping/resolve-target.ts';
import type { ImageWant } from './image-work.ts';

/** Characters: a registry's host, a repository and a tag need fewer, and the status lists many of them. */
const maxImageLength = 640;

/** What a ManagedClusterModule wants for a kernel. */
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
 * Creates the function that finds what a ManagedClusterModule wants for a kernel, given as `uname -r` prints
 * it. Results are cached: a fleet has few kernels and many clusters.
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
    if (target.image.length > maxImageLength) throw tooLong(target);
    return { type: 'target', kernel, target };
  } catch (error) {
    if (error instanceof KmmError) return { type: 'invalid', kernel, error };
    throw error;
  }
}

function tooLong({ image, mapping, kernel }: ModuleTarget): HubError {
  return new HubError({
    code: 'IMAGE_NAME_TOO_LONG',
    message: `kernelMappings[${mapping}] gives an image name of ${image.length} characters, and ${maxImageLength} are the most`,
    facts: { mapping, kernel: kernel.release, length: image.length, limit: maxImageLength },
  });
}

/** What a ManagedClusterModule wants, within the limit of images. */
export interface LimitedWants {
  readonly wants: readonly ImageWant[];
  /** Why the targets of further images are refused. */
  readonly refused: ReadonlyMap<ModuleTarget, HubError>;
}

export interface ImageLimitOptions {
  /** Images that the status already lists. */
  readonly known: { has(image: string): boolean };
  /** Returns how many clusters have a kernel. */
  readonly clustersWith: (release: string) => number;
}

/**
 * Accepts as many images as a status can list: those that are not persisted would be forgotten at every
 * restart. Listed images keep their place; of the others, those for the most clusters come first, so that one
 * cluster with many kernels does not crowd out the rest.
 */
export function limitImages(
  wants: readonly ImageWant[],
  { known, clustersWith }: ImageLimitOptions,
): LimitedWants {
  const clusters = new Map<string, number>();
  for (const { target } of wants) {
    const count = clusters.get(target.image) ?? 0;
    clusters.set(target.image, count + clustersWith(target.kernel.release));
  }
  if (clusters.size <= maxListedImages) return { wants, refused: new Map() };
  const ordered = Array.from(clusters, ([image, count]) => ({
    image,
    count,
    rank: Number(!known.has(image)),
  }))
    .toSorted((a, b) => a.rank - b.rank || b.count - a.count || (a.image < b.image ? -1 : 1))
    .map(({ image }) => image);
  const accepted = new Set(ordered.slice(0, maxListedImages));
  const isAccepted = ({ target }: ImageWant): boolean => accepted.has(target.image);
  const others = wants.filter((want) => !isAccepted(want));
  return {
    wants: wants.filter(isAccepted),
    refused: new Map(others.map((want) => [want.target, tooMany(want, clusters.size)])),
  };
}

function tooMany({ user: { name }, target: { image, kernel } }: ImageWant, images: number): HubError {
  return new HubError({
    code: 'TOO_MANY_IMAGES',
    message: `The clusters of ${name} need ${images} images, and the hub sees to ${maxListedImages} for one ManagedClusterModule`,
    hint: 'Use several ManagedClusterModules for clusters with different kernels.',
    facts: { managedClusterModule: name, image, kernel: kernel.release, limit: maxListedImages },
  });
}
