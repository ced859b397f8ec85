import { BuilderError } from './errors.ts';
import { driverToolkitArgument, needsDriverToolkit } from './driver-toolkit.ts';
import type { BuildFacts } from './job-facts.ts';
import { configMapFile, type Mount } from './mounts.ts';
import type { BuildTarget, ModuleTarget } from './target.ts';

/** The directory that a build sees: it holds the Dockerfile, nothing else. */
export const contextDirectory = '/workspace';

/** The Dockerfile in it. */
export const dockerfilePath = `${contextDirectory}/Dockerfile`;

/** The Dockerfile, from its ConfigMap. */
export function dockerfileMount(build: BuildTarget, { dockerfileKey }: BuildFacts): Mount {
  return configMapFile({
    volume: 'dockerfile',
    source: build.dockerfileConfigMap,
    key: dockerfileKey,
    directory: contextDirectory,
    file: 'Dockerfile',
  });
}

/** Nodes for a build: of the architecture of the nodes that will run the image. */
export function buildNodeSelector(
  target: ModuleTarget,
  { architecture }: BuildFacts,
): Record<string, string> {
  return { ...(target.build?.selector ?? target.selector), 'kubernetes.io/arch': architecture };
}

/** @throws BuilderError DRIVER_TOOLKIT_MISSING when the Dockerfile needs an image that is not known */
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
