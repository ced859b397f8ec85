import type { BuilderName } from '../../../builder/builder.ts';
import type { ModuleTarget } from '../../../builder/target.ts';
import type { PipelineRequest } from '../../image-pipeline/request.ts';
import { MappingError } from '../../module/kernel-mapping/errors.ts';
import { reasonOf } from '../../module/kernel-result.ts';
import { distinct } from '../../module/node-groups.ts';

const conflictCode = 'CONFLICTING_MAPPINGS';
/** Reason in the status of a ManagedClusterModule whose image is not built as it wants. */
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

/** An image for a kernel, and who wants it. */
export interface ImageWant {
  readonly user: ImageUser;
  readonly target: ModuleTarget;
  /** GOARCH of the kernel's nodes. */
  readonly architecture: string;
}

/** The work on one image, for all who want it. */
export interface ImageWork {
  /** The one that decides what is done, and whose MOD_NAME and MOD_NAMESPACE builds get. */
  readonly user: ImageUser;
  readonly users: readonly ImageUser[];
  /** Those that want something different of the image, and so do not get it. */
  readonly others: readonly ImageUser[];
  readonly request: Omit<PipelineRequest, 'namespace' | 'earlier' | 'confirm'>;
  /** Why those others do not get it, by target. */
  readonly conflicts: ReadonlyMap<ModuleTarget, MappingError>;
}

/** Which ManagedClusterModules take precedence, by UID. */
export interface Precedence {
  /** The one that owned the work until now. */
  readonly before?: string | undefined;
  /** Returns whether the status of a ManagedClusterModule says that the image is built as it wants. */
  readonly isStanding: (uid: string) => boolean;
}

/**
 * Combines all that is wanted of one image into one piece of work. Wants that differ only in the name of the
 * ManagedClusterModule and its namespace in clusters are the same: an image's name stands for one content.
 * The owner of the work keeps it, after a restart too, so that no cluster loses an image that was built for
 * it. The input of the Jobs does not depend on the owner.
 */
export function combineWants(
  wants: readonly [ImageWant, ...ImageWant[]],
  { before, isStanding }: Precedence,
): ImageWork {
  const rank = ({ user: { uid } }: ImageWant): number => (uid === before ? 0 : isStanding(uid) ? 1 : 2);
  const ordered = wants
    .map((want) => ({ want, rank: rank(want) }))
    .toSorted((a, b) => a.rank - b.rank || byPrecedence(a.want, b.want))
    .map(({ want }) => want);
  const [first = wants[0]] = ordered;
  const work = workOf(first);
  const agreeing = ordered.filter((want) => workOf(want) === work);
  const others = ordered.filter((want) => workOf(want) !== work);
  const retries = distinct(agreeing.flatMap(({ user }) => user.retry ?? []));
  return {
    user: first.user,
    users: usersOf(agreeing),
    others: usersOf(others),
    request: {
      target: hubTarget(agreeing),
      shared: true,
      architectures: distinct(agreeing.map(({ architecture }) => architecture)),
      kernels: distinct(agreeing.map(({ target }) => target.kernel.release)),
      // A hub knows only the kernels of its clusters' nodes.
      osImages: [],
      builder: first.user.builder,
      rebuildsAlways: agreeing.some(({ user }) => user.rebuildsAlways),
      retry: retries.length === 0 ? undefined : retries.join(','),
    },
    conflicts: new Map(others.map(({ target }) => [target, conflict(first, target)])),
  };
}

function usersOf(wants: readonly ImageWant[]): ImageUser[] {
  return [...new Set(wants.map(({ user }) => user))];
}

function byPrecedence({ user: a, target: one }: ImageWant, { user: b, target: other }: ImageWant): number {
  const keys = [
    [a.created, b.created],
    [a.name, b.name],
    [one.kernel.release, other.kernel.release],
  ] as const;
  for (const [left, right] of keys) if (left !== right) return left < right ? -1 : 1;
  return 0;
}

/** Caches `workOf`: a target belongs to one view of one ManagedClusterModule. */
const works = new WeakMap<ModuleTarget, string>();

/** Returns what to do to an image, apart from kernels and names derived from the ManagedClusterModule. */
function workOf({ user, target }: ImageWant): string {
  const known = works.get(target);
  if (known !== undefined) return known;
  const { registryTls, imageRepoSecret, build, sign } = target;
  const work = JSON.stringify([
    user.builder,
    registryTls,
    imageRepoSecret,
    build,
    sign && {
      ...sign,
      files: sign.files.length === 0,
    },
  ]);
  works.set(target, work);
  return work;
}

/** Returns the first target, with the files of all and without what concerns nodes in clusters. */
function hubTarget(wants: readonly ImageWant[]): ModuleTarget {
  const [first] = wants;
  if (first === undefined) throw new TypeError('nobody wants the image');
  const { target } = first;
  const triggers = wants.map((want) => want.target.imageRebuildTriggerGeneration ?? 0);
  const files = wants.flatMap((want) => want.target.sign?.files ?? []);
  return {
    ...target,
    ...(target.sign === undefined ? {} : { sign: { ...target.sign, files: distinct(files) } }),
    selector: {},
    tolerations: [],
    serviceAccountName: undefined,
    imageRebuildTriggerGeneration: Math.max(...triggers),
  };
}

function conflict({ user }: ImageWant, { image, kernel, mapping }: ModuleTarget): MappingError {
  return new MappingError({
    code: conflictCode,
    message: `kernelMappings[${mapping}] wants something else of ${image} than ManagedClusterModule ${user.name} does`,
    hint: 'Give each its own containerImage, for example with ${MOD_NAME} or ${KERNEL_FULL_VERSION} in the tag.',
    facts: { image, kernel: kernel.release, managedClusterModule: user.name },
  });
}
