import type { BuilderName } from '../../../builder/builder.ts';
import type { ModuleTarget } from '../../../builder/target.ts';
import type { PipelineRequest } from '../../image-pipeline/request.ts';
import { MappingError } from '../../module/kernel-mapping/errors.ts';
import { reasonOf } from '../../module/kernel-result.ts';
import { distinct } from '../../module/node-groups.ts';

const conflictCode = 'CONFLICTING_MAPPINGS';
/** Reason in the status of a ManagedClusterModule whose image is built as another one specifies. */
export const conflictReason = reasonOf(conflictCode);

/** A ManagedClusterModule, as far as images depend on it. */
export interface ImageUser {
  readonly uid: string;
  readonly name: string;
  /** RFC 3339. */
  readonly created: string;
  /** From its annotations, as is `retry`. */
  readonly builder: BuilderName | undefined;
  readonly retry: string | undefined;
  readonly rebuildsAlways: boolean;
}

/** An image for a kernel, and the ManagedClusterModule that needs it. */
export interface DesiredImage {
  readonly user: ImageUser;
  readonly target: ModuleTarget;
  /** GOARCH of the kernel's nodes. */
  readonly architecture: string;
}

/** The work on one image, for all that use it. */
export interface ImageWork {
  /** The one that decides what is done, and whose MOD_NAME and MOD_NAMESPACE builds get. */
  readonly user: ImageUser;
  readonly users: readonly ImageUser[];
  /** Those whose build or signature of the image differs, so that they do not get it. */
  readonly conflicting: readonly ImageUser[];
  readonly request: Omit<PipelineRequest, 'namespace' | 'earlier' | 'confirm'>;
  /** Why those do not get it, by target. */
  readonly conflicts: ReadonlyMap<ModuleTarget, MappingError>;
}

/** Which ManagedClusterModules take precedence, by UID. */
export interface Precedence {
  /** The one that owned the work until now. */
  readonly before?: string | undefined;
  /** Returns whether the status of a ManagedClusterModule says that the image is built as it specifies. */
  readonly isBuiltFor: (uid: string) => boolean;
}

/**
 * Combines the requirements for one image into one piece of work. Those that differ only in the name of the
 * ManagedClusterModule and its namespace in clusters are the same: an image's name stands for one content.
 * The owner of the work keeps it, after a restart too, so that no cluster loses an image that was built for
 * it. The input of the Jobs does not depend on the owner.
 */
export function combineDesired(
  images: readonly [DesiredImage, ...DesiredImage[]],
  { before, isBuiltFor }: Precedence,
): ImageWork {
  const rank = ({ user: { uid } }: DesiredImage): number => (uid === before ? 0 : isBuiltFor(uid) ? 1 : 2);
  const ordered = images
    .map((image) => ({ image, rank: rank(image) }))
    .toSorted((a, b) => a.rank - b.rank || byPrecedence(a.image, b.image))
    .map(({ image }) => image);
  const [first = images[0]] = ordered;
  const recipe = recipeOf(first);
  const agreeing = ordered.filter((image) => recipeOf(image) === recipe);
  const conflicting = ordered.filter((image) => recipeOf(image) !== recipe);
  const retries = distinct(agreeing.flatMap(({ user }) => user.retry ?? []));
  return {
    user: first.user,
    users: usersOf(agreeing),
    conflicting: usersOf(conflicting),
    request: {
      target: combinedTarget(agreeing),
      shared: true,
      architectures: distinct(agreeing.map(({ architecture }) => architecture)),
      kernels: distinct(agreeing.map(({ target }) => target.kernel.release)),
      // A hub knows only the kernels of its clusters' nodes.
      osImages: [],
      builder: first.user.builder,
      rebuildsAlways: agreeing.some(({ user }) => user.rebuildsAlways),
      retry: retries.length === 0 ? undefined : retries.join(','),
    },
    conflicts: new Map(conflicting.map(({ target }) => [target, conflictError(first, target)])),
  };
}

function usersOf(images: readonly DesiredImage[]): ImageUser[] {
  return [...new Set(images.map(({ user }) => user))];
}

function byPrecedence(
  { user: a, target: one }: DesiredImage,
  { user: b, target: other }: DesiredImage,
): number {
  const keys = [
    [a.created, b.created],
    [a.name, b.name],
    [one.kernel.release, other.kernel.release],
  ] as const;
  for (const [left, right] of keys) if (left !== right) return left < right ? -1 : 1;
  return 0;
}

/** Caches `recipeOf`: a target belongs to one view of one ManagedClusterModule. */
const recipes = new WeakMap<ModuleTarget, string>();

/** Returns how an image is made, apart from kernels and names derived from the ManagedClusterModule. */
function recipeOf({ user, target }: DesiredImage): string {
  const known = recipes.get(target);
  if (known !== undefined) return known;
  const { registryTls, imageRepoSecret, build, sign } = target;
  const recipe = JSON.stringify([
    user.builder,
    registryTls,
    imageRepoSecret,
    build,
    sign && {
      ...sign,
      files: sign.files.length === 0,
    },
  ]);
  recipes.set(target, recipe);
  return recipe;
}

/** Returns the first target, with the files of all and without what only applies to nodes in clusters. */
function combinedTarget(images: readonly DesiredImage[]): ModuleTarget {
  const [first] = images;
  if (first === undefined) throw new TypeError('nothing uses the image');
  const { target } = first;
  const triggers = images.map((image) => image.target.imageRebuildTriggerGeneration ?? 0);
  const files = images.flatMap((image) => image.target.sign?.files ?? []);
  return {
    ...target,
    ...(target.sign === undefined ? {} : { sign: { ...target.sign, files: distinct(files) } }),
    selector: {},
    tolerations: [],
    serviceAccountName: undefined,
    imageRebuildTriggerGeneration: Math.max(...triggers),
  };
}

function conflictError({ user }: DesiredImage, { image, kernel, mapping }: ModuleTarget): MappingError {
  return new MappingError({
    code: conflictCode,
    message: `kernelMappings[${mapping}] builds or signs ${image} differently than ManagedClusterModule ${user.name}`,
    hint: 'Give each its own containerImage, for example with ${MOD_NAME} or ${KERNEL_FULL_VERSION} in the tag.',
    facts: { image, kernel: kernel.release, managedClusterModule: user.name },
  });
}
