import { buildJob, builders } from '../../builder/builders.ts';
import { findDriverToolkit, needsDriverToolkit } from '../../builder/driver-toolkit.ts';
import type { BuildFacts } from '../../builder/job-facts.ts';
import { PipelineError } from './errors.ts';
import type { Credentials } from './inputs.ts';
import { progressJob, type JobProgress } from './job-progress.ts';
import type { PipelineRequest } from './request.ts';
import type { PipelineServices } from './services.ts';

export interface BuildStep {
  readonly dockerfile: { readonly key: string; readonly text: string };
  readonly credentials: Credentials;
  readonly signal: AbortSignal;
}

/** Builds the image of a target by a Job. @throws BuilderError DRIVER_TOOLKIT_MISSING, PipelineError SEVERAL_ARCHITECTURES, SEVERAL_KERNELS */
export function progressBuild(
  services: PipelineServices,
  request: PipelineRequest,
  { dockerfile, credentials, signal }: BuildStep,
): Promise<JobProgress> {
  const { settings } = services;
  const { target, namespace, owner } = request;
  const builder = request.builder ?? settings.builder;
  requireOneKernel(request);
  const facts: Omit<BuildFacts, 'attempt'> = {
    namespace,
    ...(owner === undefined ? {} : { owner }),
    ...(request.shared === true ? { shared: true } : {}),
    image: settings.builderImages?.[builder] ?? builders[builder].defaultImage,
    pullSecrets: credentials.names,
    ...(settings.trustedCertificates && { trustedCertificates: settings.trustedCertificates }),
    ...(settings.proxy && { proxy: settings.proxy }),
    ...(settings.buildPodTemplate && { podTemplate: settings.buildPodTemplate }),
    ...(request.retry === undefined ? {} : { retry: request.retry }),
    dockerfile: dockerfile.text,
    dockerfileKey: dockerfile.key,
    architecture: onlyArchitecture(request),
    ...driverToolkitOf(services, request, dockerfile.text),
    userNamespaces: settings.userNamespaces,
    push: request.push ?? true,
  };
  return progressJob(services, {
    namespace,
    jobOf: (attempt) => buildJob(builder, target, { ...facts, attempt }),
    earlier: request.earlier,
    confirm: request.confirm,
    signal,
  });
}

function requireOneKernel({ kernels, target }: PipelineRequest): void {
  if (kernels.length < 2) return;
  throw new PipelineError({
    code: 'SEVERAL_KERNELS',
    message: `${target.image} does not exist, would be built for kernel ${target.kernel.release}, and is to serve ${kernels.join(', ')} as well`,
    hint: 'Put ${KERNEL_FULL_VERSION} into the tag of containerImage.',
    facts: { image: target.image, kernels },
  });
}

function onlyArchitecture({ architectures, target }: PipelineRequest): string {
  const [architecture = 'amd64', ...others] = architectures;
  if (others.length === 0) return architecture;
  throw new PipelineError({
    code: 'SEVERAL_ARCHITECTURES',
    message: `Nodes of several architectures (${architectures.join(', ')}) run kernel ${target.kernel.release}, and a build makes an image for one`,
    hint: 'Use one Module for each architecture, with kubernetes.io/arch in its selector.',
    facts: { kernel: target.kernel.release, architectures },
  });
}

function driverToolkitOf(
  { settings }: PipelineServices,
  { target, osImages }: PipelineRequest,
  dockerfile: string,
): Pick<BuildFacts, 'driverToolkitImage' | 'driverToolkitMissing'> {
  if (!needsDriverToolkit(dockerfile)) return {};
  const toolkit = findDriverToolkit({ kernel: target.kernel, osImages, table: settings.driverToolkit() });
  return toolkit.found ? { driverToolkitImage: toolkit.image } : { driverToolkitMissing: toolkit.missing };
}
