import type { VerifiedModule } from '../../api/preflight-validation.ts';
import { shortHash } from '../../builder/names.ts';
import { KmmError } from '../../shared/errors.ts';
import type { ImageState } from '../image-pipeline/image-state.ts';
import { findCredentials } from '../image-pipeline/inputs.ts';
import { advanceImage } from '../image-pipeline/advance-image.ts';
import type { PipelineRequest } from '../image-pipeline/request.ts';
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
import type { PreflightContext } from './context.ts';
import type { PreflightTask } from './task.ts';
import { failed, verificationOf, type Verification } from './verification.ts';

/** What was found out about a Module, and the Jobs of the present inputs; undefined: not known, or not ours. */
export interface ModuleVerification {
  readonly verification: Verification;
  readonly jobs: readonly string[] | undefined;
}

/** Finds out whether a Module would be ready. Never throws: what goes wrong is the Module's own affair. */
export async function verifyModule(
  services: PreflightContext,
  query: ModuleQuery,
  signal: AbortSignal,
): Promise<ModuleVerification> {
  const { module, target, task, earlier } = query;
  const image = imageOf(services, query);
  if (image.target instanceof KmmError) return { verification: failed(image.target.message), jobs: [] };
  const request = requestOf(image.target, { ...query, image });
  const asked = askedOf(query);
  try {
    if (await isStillVerified(services, { request, earlier, asked }, signal)) {
      return { verification: verificationFrom(earlier), jobs: ownJobs(image, task, []) };
    }
    const { state, jobs } =
      image.running.length === 0
        ? await advanceImage(withDriverToolkit(services, query), request, signal)
        : { state: stateOfModule(module, image.running), jobs: ownJobs(image, task, []) };
    const known = verificationOf(state, { signs: target.sign !== undefined });
    const content =
      state.digest === undefined
        ? {}
        : {
            ...(await verifyContent(services, { ...request, target }, { digest: state.digest, signal })),
            digest: state.digest,
          };
    const verification = { ...known, ...content, image: target.image };
    return {
      verification: verification.status === 'Success' ? { ...verification, verified: asked } : verification,
      jobs,
    };
  } catch (error) {
    const { state, error: unexpected } = failureOf(error, earlierState(earlier));
    const verification = verificationOf(state, { signs: target.sign !== undefined });
    return { verification: { ...verification, image: target.image, error: unexpected }, jobs: undefined };
  }
}

/** The hash of what is asked: a Module that was verified is verified again when it changes. */
function askedOf({ module, task }: ModuleQuery): string {
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

/** Whether a Module was verified and its image has not changed since. A registry that fails changes nothing. */
async function isStillVerified(
  services: PreflightContext,
  {
    request,
    earlier,
    asked,
  }: { request: PipelineRequest; earlier: VerifiedModule | undefined; asked: string },
  signal: AbortSignal,
): Promise<boolean> {
  if (earlier?.verified !== asked) return false;
  const { image, registryTls: tls } = request.target;
  try {
    const { contents: pullSecrets } = await findCredentials(services, request);
    const { namespace } = request;
    const access = { tls, pullSecrets };
    const found = await services.images.resolve({ image, access, namespace, signal });
    return found?.digest === earlier.digest;
  } catch (error) {
    if (error instanceof KmmError) return true;
    throw error;
  }
}

/** Nodes run the image: the Module controller works on it, and nobody else may. */
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
    message: message ?? 'The Module is being worked on for the nodes that it has already',
  };
}

/** Jobs for a kernel that nodes run are the Module controller's affair. */
function ownJobs<T>({ running }: PreflightImage, { kernel }: PreflightTask, jobs: T): T | undefined {
  return running.includes(kernel.release) ? undefined : jobs;
}

function verificationFrom(earlier: VerifiedModule | undefined): Verification {
  const { image, digest, unsignedDigest, inputs, job, verified, statusReason = '' } = earlier ?? {};
  const known = { image, digest, unsignedDigest, inputs, job, verified };
  return { status: 'Success', stage: 'Done', reason: statusReason, ...known };
}
