import type { ModuleTarget } from '../../builder/target.ts';
import { KmmError } from '../../shared/errors.ts';
import { MappingError } from './kernel-mapping/errors.ts';
import type { WantedKernel } from './wanted-kernels.ts';
import type { NodeGroup } from './node-groups.ts';

/** Kernels that are to run one image. It is worked on once, for all of them. */
export interface ImageGroup {
  /** The target of the first kernel; what is to be signed is that of all kernels. */
  readonly target: ModuleTarget | KmmError;
  readonly members: readonly NodeGroup[];
}

/**
 * Groups kernels by image. Kernels that want different things of one image would undo each other's work, so all
 * but the first fail.
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

/** What is to be done to an image, apart from the kernel that it is for. */
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
