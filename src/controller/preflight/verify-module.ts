import type { VerifiedModule } from '../../api/preflight-validation.ts';
import { shortHash } from '../../builder/names.ts';
import { KmmError } from '../../shared/errors.ts';
import type { ImageState, PipelineRequest } from '../image-pipeline/request.ts';
import { readCredentials } from '../image-pipeline/inputs.ts';
import { advanceImage } from '../image-pipeline/advance-image.ts';
import { failureOf, moduleAnnotations } from '../module/kernel-result.ts';
import type { NamedModule } from '../module/named-module.ts';
import { verifyContent } from './content.ts';
import {
  earlierState,
  imageOf,
  requestOf,
  withDriverToolkit,
  type ModuleQuery,
  type PreflightImage,
} from './image.ts';
import type { PreflightContext, PreflightTask } from './task.ts';
import { failed, verificationOf, type Verification } from './verification.ts';

/** The result for a Module, and the Jobs of the current inputs; undefined if unknown or not ours. */
export interface ModuleVerification {
  readonly verification: Verification;
  readonly jobs: readonly string[] | undefined;
}

/** Verifies whether a Module would be ready. Never throws: a failure is the Module's result. */
export async function verifyModule(
  services: PreflightContext,
  query: ModuleQuery,
  signal: AbortSignal,
): Promise<ModuleVerification> {
  const { module, target, task, earlier } = query;
  const image = imageOf(services, query);
  if (image.target instanceof KmmError) return { verification: failed(image.target.message), jobs: [] };
  const request = requestOf(image.target, query, image);
  const queryHash = queryHashOf(query);
  try {
    if (await isStillVerified(services, request, earlier, queryHash, signal)) {
      return { verification: verificationFrom(earlier), jobs: ownJobs(image, task, []) };
    }
    const { state, jobs } =
      image.running.length === 0
        ? await advanceImage(withDriverToolkit(services, query), request, signal)
        : { state: stateOfModule(module, image.running), jobs: ownJobs(image, task, []) };
    const byState = verificationOf(state, target.sign !== undefined);
    const content =
      state.digest === undefined
        ? {}
        : {
            ...(await verifyContent(services, { ...request, target }, state.digest, signal)),
            digest: state.digest,
          };
    const verification = { ...byState, ...content, image: target.image };
    return {
      verification:
        verification.status === 'Success' ? { ...verification, verified: queryHash } : verification,
      jobs,
    };
  } catch (error) {
    const { state, error: unexpected } = failureOf(error, earlierState(earlier));
    const verification = verificationOf(state, target.sign !== undefined);
    return { verification: { ...verification, image: target.image, error: unexpected }, jobs: undefined };
  }
}

/** Returns the hash of a query: a verified Module is verified again when it changes. */
function queryHashOf({ module, task }: ModuleQuery): string {
  const { uid, generation, annotations } = module.metadata;
  return shortHash({
    uid,
    generation,
    annotations: Object.values(moduleAnnotations).map((key) => annotations?.[key] ?? null),
    kernel: task.kernel.release,
    push: task.push,
    driverToolkit: task.driverToolkit,
  });
}

/** Returns whether a Module was verified and its image is unchanged. A registry error counts as no change. */
async function isStillVerified(
  services: PreflightContext,
  request: PipelineRequest,
  earlier: VerifiedModule | undefined,
  queryHash: string,
  signal: AbortSignal,
): Promise<boolean> {
  if (earlier?.verified !== queryHash) return false;
  const { image, registryTls: tls } = request.target;
  try {
    const { contents: pullSecrets } = await readCredentials(services, request);
    const { namespace } = request;
    const access = { tls, pullSecrets };
    const found = await services.images.resolve({ image, access, namespace, signal });
    return found?.digest === earlier.digest;
  } catch (error) {
    if (error instanceof KmmError) return true;
    throw error;
  }
}

/** Returns the state of an image that nodes run: only the Module controller may work on it. */
function stateOfModule({ status, metadata }: NamedModule, running: readonly string[]): ImageState {
  const known =
    status?.observedGeneration === metadata.generation
      ? status?.kernels?.find(({ kernelVersion }) => running.includes(kernelVersion))
      : undefined;
  const { phase = 'Pending', reason = 'NodesRunImage', message, ...rest } = known ?? {};
  return {
    ...rest,
    phase,
    reason,
    message: message ?? 'The Module controller is working on the image for existing nodes',
  };
}

/** Returns the Jobs, or undefined for a kernel that nodes run: those belong to the Module controller. */
function ownJobs<T>({ running }: PreflightImage, { kernel }: PreflightTask, jobs: T): T | undefined {
  return running.includes(kernel.release) ? undefined : jobs;
}

function verificationFrom(earlier: VerifiedModule | undefined): Verification {
  const { image, digest, unsignedDigest, inputs, job, verified, statusReason = '' } = earlier ?? {};
  const known = { image, digest, unsignedDigest, inputs, job, verified };
  return { status: 'Success', stage: 'Done', reason: statusReason, ...known };
}
