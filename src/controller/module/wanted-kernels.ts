import type { ModuleTarget } from '../../builder/target.ts';
import { KmmError } from '../../shared/errors.ts';
import { resolveTarget } from './kernel-mapping/resolve-target.ts';
import { moduleNameOf, type NamedModule } from './named-module.ts';
import type { NodeGroup } from './node-groups.ts';
import { MappingError } from './kernel-mapping/errors.ts';
import type { Reference } from '../observe/references/reference.ts';

/** A kernel with a mapping. */
export interface WantedKernel {
  readonly group: NodeGroup;
  /** The target, or why there is none. */
  readonly target: ModuleTarget | KmmError;
}

/**
 * Returns the kernels that a Module has mappings for. One that cannot be resolved does not hold up the
 * others. In a managed cluster, where a hub builds and signs, images are only looked up.
 */
export function wantedKernels(
  module: NamedModule,
  groups: readonly NodeGroup[],
  { managed = false }: { readonly managed?: boolean | undefined } = {},
): WantedKernel[] {
  return groups.flatMap((group): WantedKernel[] => {
    try {
      const target = resolveTarget({ module: moduleNameOf(module), spec: module.spec, kernel: group.kernel });
      if (target === undefined) return [];
      return [{ group, target: managed ? { ...target, build: undefined, sign: undefined } : target }];
    } catch (error) {
      if (error instanceof KmmError) return [{ group, target: error }];
      throw error;
    }
  });
}

/** Kernels that share one image. It is processed once for all of them. */
export interface ImageGroup {
  /** The target of the first kernel, with the files to sign of all kernels. */
  readonly target: ModuleTarget | KmmError;
  readonly members: readonly NodeGroup[];
}

/**
 * Groups kernels by image. Kernels that want different things of one image would undo each other's work, so
 * all but the first fail.
 */
export function groupByImage(wanted: readonly WantedKernel[]): ImageGroup[] {
  const groups = new Map<string, { target: ModuleTarget; members: NodeGroup[] }>();
  const failed: ImageGroup[] = [];
  for (const { target, group } of wanted) {
    if (target instanceof KmmError) {
      failed.push({ target, members: [group] });
      continue;
    }
    const known = groups.get(target.image);
    if (known === undefined) {
      groups.set(target.image, { target, members: [group] });
    } else if (workOf(known.target) === workOf(target)) {
      known.members.push(group);
      known.target = withFiles(known.target, target.sign?.files ?? []);
    } else {
      failed.push({ target: conflict(known.target, target), members: [group] });
    }
  }
  return [...groups.values(), ...failed];
}

/** Returns what to do to an image, apart from the kernel that it is for. */
function workOf({ registryTls, imageRepoSecret, build, sign }: ModuleTarget): string {
  return JSON.stringify([
    registryTls,
    imageRepoSecret,
    build,
    sign === undefined ? null : withoutFiles(sign),
  ]);
}

function withoutFiles({ files, ...sign }: NonNullable<ModuleTarget['sign']>): object {
  return { ...sign, every: files.length === 0 };
}

function withFiles(target: ModuleTarget, files: readonly string[]): ModuleTarget {
  if (target.sign === undefined) return target;
  return { ...target, sign: { ...target.sign, files: [...new Set([...target.sign.files, ...files])] } };
}

function conflict(first: ModuleTarget, second: ModuleTarget): MappingError {
  return new MappingError({
    code: 'CONFLICTING_MAPPINGS',
    message: `kernelMappings[${first.mapping}] and kernelMappings[${second.mapping}] want different things of one image, ${first.image}`,
    hint: 'Give each its own containerImage, for example with ${KERNEL_FULL_VERSION} in the tag.',
    facts: { image: first.image, kernel: second.kernel.release },
  });
}

/** Returns the objects that a Module refers to for the kernels in its cluster. */
export function referencesOf(
  namespace: string,
  kernels: readonly Pick<WantedKernel, 'target'>[],
): Reference[] {
  return kernels.flatMap(({ target }) => {
    if (target instanceof KmmError) return [];
    const { build, sign, imageRepoSecret, serviceAccountName = 'default' } = target;
    const names: (readonly [Reference['kind'], string])[] = [
      ...(build === undefined ? [] : [['dockerfile', build.dockerfileConfigMap] as const]),
      ...(build?.secrets ?? []).map((secret) => ['secret', secret] as const),
      ...(sign === undefined
        ? []
        : ([
            ['certificate', sign.certSecret],
            ['secret', sign.keySecret],
          ] as const)),
      imageRepoSecret === undefined
        ? ['service-account', serviceAccountName]
        : ['pull-secret', imageRepoSecret],
    ];
    return names.map(([kind, name]) => ({ kind, key: { namespace, name } }));
  });
}
