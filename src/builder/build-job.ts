import type { V1Job } from '@kubernetes/client-node';
import { buildahBuilder } from './buildah.ts';
import { buildNodeSelector, checkDriverToolkit, type Builder, type BuilderName } from './builder.ts';
import { makeJob } from './job.ts';
import type { BuildInputs } from './job-inputs.ts';
import { buildHash } from './job-hash.ts';
import { kanikoBuilder } from './kaniko.ts';
import { BuilderError, type ModuleTarget } from './target.ts';

/** All builders. */
export const builders: Readonly<Record<BuilderName, Builder>> = {
  kaniko: kanikoBuilder,
  buildah: buildahBuilder,
};

/**
 * Creates the Job that builds a target's image from its Dockerfile. Equal inputs yield equal Jobs.
 * @throws BuilderError INCOMPLETE_MODULE if the target has nothing to build, DRIVER_TOOLKIT_MISSING if the
 * Dockerfile needs an image that is not known
 */
export function buildJob(name: BuilderName, target: ModuleTarget, inputs: BuildInputs): V1Job {
  const { build } = target;
  if (build === undefined) {
    throw new BuilderError({
      code: 'INCOMPLETE_MODULE',
      message: `Module ${target.module.namespace}/${target.module.name} does not say how to build ${target.image}`,
      hint: 'Add a build section to the container or to the kernel mapping.',
    });
  }
  checkDriverToolkit(target, inputs);
  const builder = builders[name];
  const { podSecurityContext: securityContext } = builder;
  return makeJob(target, inputs, {
    kind: 'build',
    hash: buildHash(target, name, inputs),
    container: builder.container({ ...target, build }, inputs),
    mounts: builder.mounts(build, inputs),
    podTemplate: build.podTemplate,
    nodeSelector: buildNodeSelector(target, inputs),
    ...(inputs.userNamespaces ? { hostUsers: false } : securityContext && { securityContext }),
  });
}
