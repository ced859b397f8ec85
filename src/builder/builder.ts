import type { V1Container, V1PodSecurityContext } from '@kubernetes/client-node';
import { driverToolkitArgument, needsDriverToolkit } from './driver-toolkit.ts';
import type { BuildInputs } from './job-inputs.ts';
import { configMapFile, type Mount } from './mounts.ts';
import { BuilderError, type BuildArgument, type BuildTarget, type ModuleTarget } from './target.ts';

/** The programs that can build images in the cluster. */
export const builderNames = ['kaniko', 'buildah'] as const;
export type BuilderName = (typeof builderNames)[number];

/** A target whose image is built in the cluster. */
export type BuildableTarget = ModuleTarget & { readonly build: BuildTarget };

/**
 * A program that builds a target's image from its Dockerfile in one container, and writes the digest of what
 * it pushed to the termination message. Equal inputs yield equal containers and mounts.
 */
export interface Builder {
  /** The image to use if the operator's configuration names none. */
  readonly defaultImage: string;
  /** Security context of the pod if it has no user namespace. */
  readonly podSecurityContext?: V1PodSecurityContext;
  container(target: BuildableTarget, inputs: BuildInputs): V1Container;
  mounts(build: BuildTarget, inputs: BuildInputs): readonly Mount[];
}

/** The build context: a directory with only the Dockerfile. */
export const contextDirectory = '/workspace';

/** Path of the Dockerfile in the build context. */
export const dockerfilePath = `${contextDirectory}/Dockerfile`;

/** Mounts the Dockerfile from its ConfigMap. */
export function dockerfileMount(build: BuildTarget, { dockerfileKey }: BuildInputs): Mount {
  return configMapFile({
    volume: 'dockerfile',
    source: build.dockerfileConfigMap,
    key: dockerfileKey,
    directory: contextDirectory,
    file: 'Dockerfile',
  });
}

/** Returns the node selector of a build: nodes with the architecture of those that will run the image. */
export function buildNodeSelector(
  target: ModuleTarget,
  { architecture }: BuildInputs,
): Record<string, string> {
  return { ...(target.build?.selector ?? target.selector), 'kubernetes.io/arch': architecture };
}

/**
 * Requires the Driver Toolkit image if needed. @throws BuilderError DRIVER_TOOLKIT_MISSING if the Dockerfile
 * needs an image that is not known
 */
export function checkDriverToolkit(target: ModuleTarget, inputs: BuildInputs): void {
  if (inputs.driverToolkitImage !== undefined || !needsDriverToolkit(inputs.dockerfile)) return;
  const missing = inputs.driverToolkitMissing ?? [target.kernel.release];
  throw new BuilderError({
    code: 'DRIVER_TOOLKIT_MISSING',
    message: `The Dockerfile uses ${driverToolkitArgument}, but no Driver Toolkit image is known for ${missing.join(' or ')}`,
    hint: "Add that entry to driverToolkit.images in the operator's configuration, or name the image in the Dockerfile.",
    facts: { kernel: target.kernel.release, missing },
  });
}

/**
 * Returns the build arguments: the user's, then KERNEL_VERSION, KERNEL_FULL_VERSION, MOD_NAME, MOD_NAMESPACE
 * and, if an image is passed, DTK_AUTO. Ours replace the user's of the same name.
 */
export function buildArguments(target: ModuleTarget, driverToolkitImage?: string): BuildArgument[] {
  const injected: BuildArgument[] = [
    { name: 'KERNEL_VERSION', value: target.kernel.version },
    { name: 'KERNEL_FULL_VERSION', value: target.kernel.version },
    { name: 'MOD_NAME', value: target.module.name },
    { name: 'MOD_NAMESPACE', value: target.module.namespace },
    ...(driverToolkitImage === undefined ? [] : [{ name: driverToolkitArgument, value: driverToolkitImage }]),
  ];
  const taken = new Set(injected.map(({ name }) => name));
  return [...(target.build?.buildArgs ?? []).filter(({ name }) => !taken.has(name)), ...injected];
}
