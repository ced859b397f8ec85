import type { V1Job } from '@kubernetes/client-node';
import { buildJob, builders } from '../../builder/build-job.ts';
import { findDriverToolkit, needsDriverToolkit } from '../../builder/driver-toolkit.ts';
import type { BuildInputs, JobInputs, LayerCacheVolume } from '../../builder/job-inputs.ts';
import { signJob } from '../../builder/sign-job.ts';
import type { SignTarget } from '../../builder/target.ts';
import type { CertificateSecret } from '../observe/references/projections.ts';
import { PipelineError, type Credentials, type Dockerfile } from './inputs.ts';
import type { SignSource } from './next-step.ts';
import type { PipelineRequest, PipelineSettings } from './request.ts';

/** Returns the Job of one attempt; different attempts have different names. */
export type JobForAttempt = (attempt: number) => V1Job;

/**
 * Returns the Jobs that build the image of a target.
 * @throws PipelineError SEVERAL_ARCHITECTURES, SEVERAL_KERNELS; `JobForAttempt`: BuilderError DRIVER_TOOLKIT_MISSING
 */
export function buildJobs(
  settings: PipelineSettings,
  request: PipelineRequest,
  { dockerfile, credentials }: { readonly dockerfile: Dockerfile; readonly credentials: Credentials },
): JobForAttempt {
  const { target } = request;
  const builder = request.builder ?? settings.builder;
  requireOneKernel(request);
  const inputs: Omit<BuildInputs, 'attempt'> = {
    ...commonInputs(settings, request, credentials),
    image: settings.builderImages?.[builder] ?? builders[builder].defaultImage,
    ...(settings.buildPodTemplate && { podTemplate: settings.buildPodTemplate }),
    dockerfile: dockerfile.text,
    dockerfileKey: dockerfile.key,
    architecture: onlyArchitecture(request),
    ...driverToolkitOf(settings, request, dockerfile.text),
    userNamespaces: settings.userNamespaces,
    push: request.push ?? true,
  };
  return madeOnce((attempt) => buildJob(builder, target, { ...inputs, attempt }));
}

/** Returns the Jobs that sign `source` for a target. @throws PipelineError SIGN_IMAGE_UNKNOWN */
export function signJobs(
  settings: PipelineSettings,
  request: PipelineRequest,
  {
    sign,
    source,
    certificate,
    credentials,
    layerCache,
  }: {
    readonly sign: SignTarget;
    readonly source: SignSource;
    readonly certificate: Pick<CertificateSecret, 'fingerprint'>;
    readonly credentials: Credentials;
    /** Only for Jobs that may be created. */
    readonly layerCache?: LayerCacheVolume | undefined;
  },
): JobForAttempt {
  const inputs = {
    ...commonInputs(settings, request, credentials),
    image: signImageOf(settings),
    ...(settings.signPodTemplate && { podTemplate: settings.signPodTemplate }),
    sourceDigest: source.digest,
    certificateFingerprint: certificate.fingerprint,
    layerCache,
  };
  const signed = { ...request.target, sign: { ...sign, unsignedImage: source.image } };
  return madeOnce((attempt) => signJob(signed, { ...inputs, attempt }));
}

/** Keeps the Jobs: each is used for its name, what it mounts, and to create it, and hashing its inputs takes longest. */
function madeOnce(make: JobForAttempt): JobForAttempt {
  const jobs = new Map<number, V1Job>();
  return (attempt) => {
    const job = jobs.get(attempt) ?? make(attempt);
    jobs.set(attempt, job);
    return job;
  };
}

/** Returns what build and sign Jobs have in common. */
function commonInputs(
  settings: PipelineSettings,
  { namespace, owner, shared, retry }: PipelineRequest,
  { names: pullSecrets }: Credentials,
): Omit<JobInputs, 'attempt' | 'image'> {
  return {
    namespace,
    pullSecrets,
    ...(owner && { owner }),
    ...(shared === true && { shared }),
    ...(settings.trustedCertificates && { trustedCertificates: settings.trustedCertificates }),
    ...(settings.proxy && { proxy: settings.proxy }),
    ...(retry !== undefined && { retry }),
  };
}

function requireOneKernel({ kernels, target }: PipelineRequest): void {
  if (kernels.length < 2) return;
  throw new PipelineError({
    code: 'SEVERAL_KERNELS',
    message: `${target.image} does not exist, and a build would serve only kernel ${target.kernel.release}, not all of ${kernels.join(', ')}`,
    hint: 'Put ${KERNEL_FULL_VERSION} into the tag of containerImage.',
    facts: { image: target.image, kernels },
  });
}

function onlyArchitecture({ architectures, target }: PipelineRequest): string {
  const [architecture = 'amd64', ...others] = architectures;
  if (others.length === 0) return architecture;
  throw new PipelineError({
    code: 'SEVERAL_ARCHITECTURES',
    message: `Nodes of several architectures (${architectures.join(', ')}) run kernel ${target.kernel.release}, but a build makes an image for only one`,
    hint: 'Use one Module for each architecture, with kubernetes.io/arch in its selector.',
    facts: { kernel: target.kernel.release, architectures },
  });
}

function driverToolkitOf(
  settings: PipelineSettings,
  { target, osImages }: PipelineRequest,
  dockerfile: string,
): Pick<BuildInputs, 'driverToolkitImage' | 'driverToolkitMissing'> {
  if (!needsDriverToolkit(dockerfile)) return {};
  const toolkit = findDriverToolkit(target.kernel, osImages, settings.driverToolkit());
  return toolkit.found ? { driverToolkitImage: toolkit.image } : { driverToolkitMissing: toolkit.missing };
}

function signImageOf({ signImage }: PipelineSettings): string {
  if (signImage !== undefined) return signImage;
  throw new PipelineError({
    code: 'SIGN_IMAGE_UNKNOWN',
    message: "The operator's configuration does not name the image that contains kmm-sign",
    hint: 'Set sign.image in the configuration, or RELATED_IMAGE_SIGN in its environment.',
  });
}
