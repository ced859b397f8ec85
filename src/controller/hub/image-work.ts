import type { BuilderName } from '../../builder/builder.ts';
import type { ModuleTarget } from '../../builder/target.ts';
import type { PipelineRequest } from '../image-pipeline/request.ts';
import { MappingError } from '../kernel-mapping/errors.ts';
import { distinct } from '../module/node-groups.ts';

/** A ManagedClusterModule, as far as images depend on it. */
export interface ImageUser {
  readonly uid: string;
  readonly name: string;
  /** RFC 3339. */
  readonly created: string;
  /** Of its annotations. */
  readonly builder: BuilderName | undefined;
  readonly retry: string | undefined;
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
  /** Whose name the Jobs have: who had it before, or else the oldest of those who want the image. */
  readonly user: ImageUser;
  readonly users: readonly ImageUser[];
  /** Those who want something else of the image, and so do not get it. */
  readonly others: readonly ImageUser[];
  readonly request: Omit<PipelineRequest, 'namespace' | 'earlier' | 'confirm'>;
  /** Why the others do not, by target. */
  readonly conflicts: ReadonlyMap<ModuleTarget, MappingError>;
}

/**
 * Makes one piece of work of all that is wanted of one image. What differs in nothing but the name of the
 * ManagedClusterModule and its namespace in clusters is the same: an image's name stands for one content. Whose
 * work it was before, by UID, has it further on, so that nothing that is under way begins anew.
 */
export function combineWants(wants: readonly [ImageWant, ...ImageWant[]], before?: string): ImageWork {
  const sorted = wants.toSorted(byPrecedence);
  const isBefore = ({ user }: ImageWant): boolean => user.uid === before;
  const ordered = [...sorted.filter(isBefore), ...sorted.filter((want) => !isBefore(want))];
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
      architectures: distinct(agreeing.map(({ architecture }) => architecture)),
      kernels: distinct(agreeing.map(({ target }) => target.kernel.release)),
      // A hub knows of its clusters' nodes the kernels only.
      osImages: [],
      builder: first.user.builder,
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

/** What is to be done to an image, apart from kernels and from names that come from the ManagedClusterModule. */
function workOf({ user, target }: ImageWant): string {
  const { registryTls, imageRepoSecret, build, sign } = target;
  return JSON.stringify([
    user.builder,
    registryTls,
    imageRepoSecret,
    build && { ...build, image: undefined },
    sign && {
      ...sign,
      files: sign.files.length === 0,
      unsignedImage: build === undefined ? sign.unsignedImage : undefined,
    },
  ]);
}

/** The target of the first, with the files of all, and without what speaks of nodes in clusters. */
function hubTarget(wants: readonly ImageWant[]): ModuleTarget {
  const [first] = wants;
  if (first === undefined) throw new TypeError('nobody wants the image');
  const { target } = first;
  const triggers = wants.map((want) => want.target.imageRebuildTriggerGeneration ?? 0);
  const files = wants.flatMap((want) => want.target.sign?.files ?? []);
  return {
    ...target,
    ...(target.sign === undefined ? {} : { sign: { ...target.sign, files: [...new Set(files)] } }),
    selector: {},
    tolerations: [],
    serviceAccountName: undefined,
    imageRebuildTriggerGeneration: Math.max(...triggers),
  };
}

function conflict({ user }: ImageWant, { image, kernel, mapping }: ModuleTarget): MappingError {
  return new MappingError({
    code: 'CONFLICTING_MAPPINGS',
    message: `kernelMappings[${mapping}] wants something else of ${image} than ManagedClusterModule ${user.name} does`,
    hint: 'Give each its own containerImage, for example with ${MOD_NAME} or ${KERNEL_FULL_VERSION} in the tag.',
    facts: { image, kernel: kernel.release, managedClusterModule: user.name },
  });
}
