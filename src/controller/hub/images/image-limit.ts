import { maxListedImages } from '../../../api/managed-cluster-module.ts';
import type { ModuleTarget } from '../../../builder/target.ts';
import { HubError } from '../fleet/errors.ts';
import type { ImageWant } from './image-work.ts';

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
