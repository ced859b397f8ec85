import type { ModuleName } from '../../builder/labels.ts';
import type { ModuleTarget } from '../../builder/target.ts';
import { KmmError } from '../../shared/errors.ts';
import type { PipelineServices } from '../image-pipeline/request.ts';
import { resolveTarget } from '../module/kernel-mapping/resolve-target.ts';
import { moduleNameOf, namedModule, type NamedModule } from '../module/named-module.ts';
import type { CachedModule, ClusterCaches } from '../observe/cluster/caches.ts';
import {
  requestedKernel,
  type CachedPreflight,
  type PreflightCaches,
} from '../observe/cluster/preflights.ts';
import type { ImageRegistry } from '../observe/images/image-registry.ts';
import type { ReferenceCache } from '../observe/references/reference-cache.ts';
import type { NamespacedKey } from '../observe/references/reference.ts';
import { failed, succeeded, type Verification } from './verification.ts';
import { parseKernel, type Kernel } from '../../builder/kernel.ts';

/** The services of the preflight controllers. */
export interface PreflightContext extends PipelineServices {
  readonly caches: ClusterCaches;
  readonly preflights: PreflightCaches;
  readonly references: ReferenceCache;
  readonly images: ImageRegistry;
  /** The Secret with credentials for release images and Driver Toolkit images. @default no credentials */
  readonly releasePullSecret?: NamespacedKey | undefined;
  /** Milliseconds after which Modules that are not verified are checked again. @default one minute */
  readonly recheckInterval?: number | undefined;
}

const minute = 60_000;

/** Returns the milliseconds after which Modules that are not verified are checked again. */
export function recheckIntervalOf({ recheckInterval = minute }: PreflightContext): number {
  return recheckInterval;
}

/** Our annotations on PreflightValidations. */
export const preflightAnnotations = {
  /** The Driver Toolkit image of the kernel. */
  driverToolkit: 'kmm.sigs.x-k8s.io/driver-toolkit-image',
  /** Hash of its origin, if a PreflightValidationOCP created it. */
  madeFor: 'kmm.sigs.x-k8s.io/made-for',
} as const;

/** The work of all validations for one kernel together: the same work is never done twice concurrently. */
export interface PreflightTask {
  readonly kernel: Kernel;
  /** Whether a validation requests that what is built and signed is pushed. */
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
  const requests = validations
    .filter((validation) => requestedKernel(validation) === release)
    .toSorted((a, b) => Number(pushes(b)) - Number(pushes(a)) || (ageOf(a) < ageOf(b) ? -1 : 1));
  const [leader] = requests;
  if (leader === undefined) return undefined;
  const toolkits = requests.flatMap(
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

/** A Module with its target, or its result if there is nothing to verify. */
export type CheckedModule = {
  readonly name: ModuleName;
  readonly uid: string;
} & (
  | { readonly result: Verification }
  | { readonly module: NamedModule; readonly target: ModuleTarget; readonly result?: undefined }
);

/** Returns the Modules of a cluster that are not being deleted, each with its target for a kernel. */
export function modulesToCheck(cached: readonly CachedModule[], kernel: Kernel): CheckedModule[] {
  return cached
    .filter(({ metadata }) => metadata.deletionTimestamp === undefined)
    .map((one) => moduleToCheck(one, kernel));
}

function moduleToCheck(cached: CachedModule, kernel: Kernel): CheckedModule {
  const { namespace = '', name, uid = '' } = cached.metadata;
  const common = { name: { namespace, name }, uid };
  if (cached.module === undefined) return { ...common, result: failed(cached.problem ?? '') };
  const module = namedModule(cached, cached.module);
  if (module.spec.moduleLoader === undefined) {
    return { ...common, result: succeeded('There is nothing to load: the Module has no moduleLoader') };
  }
  try {
    const target = resolveTarget({ module: moduleNameOf(module), spec: module.spec, kernel });
    if (target !== undefined) return { ...common, module, target };
    return { ...common, result: failed(`mapping not found: no kernel mapping matches ${kernel.release}`) };
  } catch (error) {
    if (error instanceof KmmError) return { ...common, result: failed(error.message) };
    throw error;
  }
}
