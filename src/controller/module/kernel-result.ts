import type { V1OwnerReference } from '@kubernetes/client-node';
import type { Module } from '../../api/module/module.ts';
import { builderNames, type BuilderName } from '../../builder/builder.ts';
import { BuilderError } from '../../builder/target.ts';
import { KmmError } from '../../shared/errors.ts';
import { advanceImage, advanceImageUncached } from '../image-pipeline/advance-image.ts';
import { PipelineError } from '../image-pipeline/inputs.ts';
import type {
  EarlierState,
  ImageState,
  PipelineRequest,
  PipelineServices,
} from '../image-pipeline/request.ts';
import { MappingError } from './kernel-mapping/errors.ts';
import { ReferencedObjectError } from '../observe/references/reference.ts';
import { isSameValue } from '../runtime/same-value.ts';
import type { ImageGroup, WantedKernel } from './wanted-kernels.ts';
import { type NamedModule, confirmModule } from './named-module.ts';
import { distinct } from './node-groups.ts';

/** Our annotations on Modules. */
export const moduleAnnotations = {
  /** A new value restarts failed work. */
  retry: 'kmm.sigs.x-k8s.io/retry',
  /** `kaniko` or `buildah`, replacing the configured one. */
  builder: 'kmm.sigs.x-k8s.io/builder',
  /** `always`: a new imageRebuildTriggerGeneration also rebuilds and re-signs an image that is complete. */
  rebuild: 'kmm.sigs.x-k8s.io/rebuild',
} as const;

/** The result for a kernel: what it wants, and how far its image is. */
export type KernelResult = WantedKernel & ImageResult;

/** The result for an image. */
export interface ImageResult {
  readonly state: ImageState;
  /** Jobs of the current inputs; undefined if unknown because the check failed. */
  readonly jobs: readonly string[] | undefined;
  /** Why the work must be retried soon. */
  readonly error: unknown;
}

/** Returns whether two checks of an image had the same result, whenever the next is due. */
export function isSameResult(one: ImageResult, other: ImageResult | undefined): boolean {
  const found = (result: ImageResult | undefined): unknown => ({
    state: { ...result?.state, requeueAfter: undefined },
    jobs: result?.jobs,
  });
  return isSameValue(found(one), found(other));
}

/** An image, and the Module that it is for. */
export interface AdvanceQuery {
  readonly module: NamedModule;
  readonly owner: V1OwnerReference;
  readonly image: ImageGroup;
  /** Whether to bypass the caches of images and references. */
  readonly closely: boolean;
  /** Whether other Modules push the image, too. */
  readonly isShared: boolean;
}

/** Takes the next steps towards a ready image. Never throws: a failure is reported per kernel. */
export async function advanceKernels(
  services: PipelineServices,
  { module, owner, image, closely, isShared }: AdvanceQuery,
  signal: AbortSignal,
): Promise<ImageResult> {
  const { members, target } = image;
  const releases = members.map(({ kernel }) => kernel.release);
  const earlier = module.status?.kernels?.find(({ kernelVersion }) => kernelVersion === releases[0]);
  if (target instanceof KmmError) return failedResult(target, earlier);
  const request = {
    target,
    namespace: target.module.namespace,
    owner,
    architectures: distinct(members.flatMap(({ architectures }) => architectures)),
    kernels: releases,
    osImages: distinct(members.flatMap(({ osImages }) => osImages)),
    builder: builderOf(module),
    retry: module.metadata.annotations?.[moduleAnnotations.retry],
    rebuildsAlways: rebuildsAlways(module),
    isContested: isShared,
    earlier,
    confirm: () => confirmModule(services.client, module, signal),
  };
  return tryAdvance(services, { request, closely }, signal);
}

/** Calls `advanceImage`, and returns its errors as results. */
export async function tryAdvance(
  services: PipelineServices,
  { request, closely }: { readonly request: PipelineRequest; readonly closely: boolean },
  signal: AbortSignal,
): Promise<ImageResult> {
  try {
    const first = await (closely ? advanceImageUncached : advanceImage)(services, request, signal);
    const { digest } = first.state;
    // A digest other than the persisted one may be an outdated one from the cache.
    const isSurprise =
      digest !== undefined && request.earlier?.digest !== undefined && digest !== request.earlier.digest;
    const { state, jobs } =
      isSurprise && !closely ? await advanceImageUncached(services, request, signal) : first;
    return { state, jobs, error: undefined };
  } catch (error) {
    return failedResult(error, request.earlier);
  }
}

/** Returns the builder that an annotation selects. */
export function builderOf({ metadata }: Pick<Module, 'metadata'>): BuilderName | undefined {
  const asked = metadata.annotations?.[moduleAnnotations.builder];
  return builderNames.find((name) => name === asked);
}

/** Returns whether an annotation requests that a new imageRebuildTriggerGeneration rebuilds every image. */
export function rebuildsAlways({ metadata }: Pick<Module, 'metadata'>): boolean {
  return metadata.annotations?.[moduleAnnotations.rebuild] === 'always';
}

function failedResult(error: unknown, earlier: EarlierState | undefined): ImageResult {
  return { ...failureOf(error, earlier), jobs: undefined };
}

/** Returns what an error means for an image, and the error itself if a retry may help. */
export function failureOf(
  error: unknown,
  earlier: EarlierState | undefined,
): Pick<ImageResult, 'state' | 'error'> {
  // These last until somebody changes something, which is watched; for all others, a retry may help.
  const isTheirs = [MappingError, PipelineError, BuilderError, ReferencedObjectError].some(
    (kind) => error instanceof kind,
  );
  const state: ImageState = {
    phase: isTheirs ? 'Failed' : 'Checking',
    reason: error instanceof KmmError ? reasonOf(error.code) : 'InternalError',
    message: describe(error),
    job: earlier?.job,
    attempts: earlier?.attempts,
    inputs: earlier?.inputs,
    unsignedDigest: earlier?.unsignedDigest,
  };
  return { state, error: isTheirs ? undefined : error };
}

/** Describes an error in a sentence, for a status. */
export function describe(error: unknown): string {
  if (!(error instanceof KmmError)) return 'The operator failed; its log says why';
  return error.hint === undefined ? error.message : `${error.message}. ${error.hint}`;
}

/** Converts a code such as `NOT_FOUND` to a reason: `NotFound`. */
export function reasonOf(code: string): string {
  return code
    .toLowerCase()
    .replaceAll(/(?:^|_)([a-z0-9])/g, (_match, letter: string) => letter.toUpperCase());
}

/** Returns the result if a hub builds the images: one that does not exist has not been built yet. */
export function waitingForHub(result: ImageResult, { target }: WantedKernel): ImageResult {
  if (target instanceof KmmError || result.state.reason !== 'ImageNotFound') return result;
  const { image } = target;
  // An image named by digest did exist, and is gone.
  if (image.includes('@')) return result;
  const message = `${image} does not exist; the hub of this cluster has not made it yet`;
  return { ...result, state: { ...result.state, phase: 'Pending', reason: 'WaitingForHub', message } };
}
