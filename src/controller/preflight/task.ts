import { parseKernel, type Kernel } from '../../builder/kernel.ts';
import { requestedKernel, type CachedPreflight } from '../observe/cluster/preflights.ts';

/** Our annotations on PreflightValidations. */
export const preflightAnnotations = {
  /** The Driver Toolkit image of the kernel. */
  driverToolkit: 'kmm.sigs.x-k8s.io/driver-toolkit-image',
  /** Hash of its origin, if a PreflightValidationOCP made it. */
  madeFor: 'kmm.sigs.x-k8s.io/made-for',
} as const;

/** The work of all validations for one kernel together: the same work is never done twice at once. */
export interface PreflightTask {
  readonly kernel: Kernel;
  /** Whether a validation wants to keep what is built and signed. */
  readonly push: boolean;
  /** Image for DTK_AUTO. */
  readonly driverToolkit: string | undefined;
  /** The validation that does the work. The others copy its result. */
  readonly leader: CachedPreflight;
}

/** What `uname -r` can print: at most 64 characters, which become part of paths and names. */
const releasePattern = /^[A-Za-z0-9][A-Za-z0-9._+~-]{0,63}$/;

/** Returns whether a text can be a kernel's release. */
export function isKernelRelease(text: string): boolean {
  return releasePattern.test(text);
}

/** Combines the validations for a kernel; undefined if there is none. */
export function taskFor(release: string, validations: readonly CachedPreflight[]): PreflightTask | undefined {
  const asking = validations
    .filter((validation) => requestedKernel(validation) === release)
    .toSorted((a, b) => Number(pushes(b)) - Number(pushes(a)) || (ageOf(a) < ageOf(b) ? -1 : 1));
  const [leader] = asking;
  if (leader === undefined) return undefined;
  const toolkits = asking.flatMap(
    ({ metadata }) => metadata.annotations?.[preflightAnnotations.driverToolkit] ?? [],
  );
  return { kernel: parseKernel(release), push: pushes(leader), driverToolkit: toolkits[0], leader };
}

/** Returns the tasks for all kernels, sorted by release. */
export function tasksOf(validations: readonly CachedPreflight[]): PreflightTask[] {
  const releases = validations.flatMap((validation) => requestedKernel(validation) ?? []);
  return [...new Set(releases)]
    .filter(isKernelRelease)
    .toSorted()
    .flatMap((release) => taskFor(release, validations) ?? []);
}

/** Returns a key by which older validations come first: later ones do not take over work in progress. */
function ageOf({ key, metadata }: CachedPreflight): string {
  return `${metadata.creationTimestamp ?? ''} ${key.name}`;
}

function pushes({ object }: CachedPreflight): boolean {
  return object?.spec.pushBuiltImage ?? false;
}
