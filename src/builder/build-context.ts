import { driverToolkitArgument, needsDriverToolkit } from './driver-toolkit.ts';
import { BuilderError } from './errors.ts';
import type { BuildFacts } from './job-facts.ts';
import { type Mount, configMapFile } from './mounts.ts';
import type { BuildArgument, BuildTarget, ModuleTarget } from './target.ts';

/** The build context: it holds only the Dockerfile. */
export const contextDirectory = '/workspace';

/** Path of the Dockerfile in the build context. */
export const dockerfilePath = `${contextDirectory}/Dockerfile`;

/** Mounts the Dockerfile from its ConfigMap. */
export function dockerfileMount(build: BuildTarget, { dockerfileKey }: BuildFacts): Mount {
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
  { architecture }: BuildFacts,
): Record<string, string> {
  return { ...(target.build?.selector ?? target.selector), 'kubernetes.io/arch': architecture };
}

/**
 * Requires the Driver Toolkit image if needed. @throws BuilderError DRIVER_TOOLKIT_MISSING if the Dockerfile
 * needs an image that is not known
 */
export function checkDriverToolkit(target: ModuleTarget, facts: BuildFacts): void {
  if (facts.driverToolkitImage !== undefined || !needsDriverToolkit(facts.dockerfile)) return;
  const missing = facts.driverToolkitMissing ?? [target.kernel.release];
  throw new BuilderError({
    code: 'DRIVER_TOOLKIT_MISSING',
    message: `The Dockerfile asks for ${driverToolkitArgument}, and no Driver Toolkit image is known for ${missing.join(' or ')}`,
    hint: "Add that entry to driverToolkit.images in the operator's configuration, or name the image in the Dockerfile.",
    facts: { kernel: target.kernel.release, missing },
  });
}

/**
 * Returns the build arguments: the user's, then KERNEL_VERSION, KERNEL_FULL_VERSION, MOD_NAME, MOD_NAMESPACE
 * and, if its image is given, DTK_AUTO. Ours replace the user's of the same name.
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
