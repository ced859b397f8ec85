import type { V1Job } from '@kubernetes/client-node';
import { buildahBuilder } from './buildah.ts';
import type { Builder, BuilderName } from './builder.ts';
import { BuilderError } from './errors.ts';
import type { BuildFacts } from './job-facts.ts';
import { kanikoBuilder } from './kaniko.ts';
import type { ModuleTarget } from './target.ts';

/** All builders. */
export const builders: Readonly<Record<BuilderName, Builder>> = {
  kaniko: kanikoBuilder,
  buildah: buildahBuilder,
};

/**
 * Creates the Job that builds a target's image.
 * @throws BuilderError INCOMPLETE_MODULE if the target has nothing to build, or what the builder throws
 */
export function buildJob(builder: BuilderName, target: ModuleTarget, facts: BuildFacts): V1Job {
  const { build } = target;
  if (build !== undefined) return builders[builder].buildJob({ ...target, build }, facts);
  throw new BuilderError({
    code: 'INCOMPLETE_MODULE',
    message: `Module ${target.module.namespace}/${target.module.name} does not say how to build ${target.image}`,
    hint: 'Add a build section to the container or to the kernel mapping.',
  });
}
