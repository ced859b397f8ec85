import { parseKernel, type Kernel } from '../../builder/kernel.ts';
import { kernelAskedFor, type CachedPreflight } from '../observe/cluster/preflights.ts';

/** Annotations of ours on PreflightValidations. */
export const preflightAnnotations = {
  /** The Driver Toolkit image of the kernel. */
  driverToolkit: 'kmm.sigs.x-k8s.io/driver-toolkit-image',
  /** Hash of what made it so, where a PreflightValidationOCP did. */
  madeFor: 'kmm.sigs.x-k8s.io/made-for',
} as const;

/** What is asked about one kernel, by all validations together: the same work is never done twice at a time. */
export interface PreflightTask {
  readonly kernel: Kernel;
  /** Somebody wants to keep what is built and signed. */
  readonly push: boolean;
  /** Image for DTK_AUTO. */
  readonly driverToolkit: string | undefined;
  /** The validation that does the work. The others copy its result. */
  readonly leader: CachedPreflight;
}

/** What `uname -r` can print: it is at most 64 characters long, and becomes part of paths and names. */
const releasePattern = /^[A-Za-z0-9][A-Za-z0-9._+~-]{0,63}$/;

/** Whether a text can be a kernel's release. */
export function isKernelRelease(text: string): boolean {
  return releasePattern.test(text);
}

/** Joins what validations ask about a kernel; undefined when none does. */
export function taskFor(release: string, validations: readonly CachedPreflight[]): PreflightTask | undefined {
  const asking = validations
    .filter((validation) => kernelAskedFor(validation) === release)
    .toSorted((a, b) => Number(pushes(b)) - Number(pushes(a)) || (ageOf(a) < ageOf(b) ? -1 : 1));
  const [leader] = asking;
  if (leader === undefined) return undefined;
  const toolkits = asking.flatMap(
    ({ metadata }) => metadata.annotations?.[preflightAnnotations.driverToolkit] ?? [],
  );
  return { kernel: parseKernel(release), push: pushes(leader), driverToolkit: toolkits[0], leader };
}

/** What is asked about all kernels, in the order of their names. */
export function tasksOf(validations: readonly CachedPreflight[]): PreflightTask[] {
  const releases = validations.flatMap((validation) => kernelAskedFor(validation) ?? []);
  return [...new Set(releases)]
    .filter(isKernelRelease)
    .toSorted()
    .flatMap((release) => taskFor(release, validations) ?? []);
}

/** Older ones come first: those that come later do not take over what is under way. */
function ageOf({ key, metadata }: CachedPreflight): string {
  return `${metadata.creationTimestamp ?? ''} ${key.name}`;
}

function pushes({ object }: CachedPreflight): boolean {
  return object?.spec.pushBuiltImage ?? false;
}
