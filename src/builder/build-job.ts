import type { V1Container, V1Job, V1PodSecurityContext } from '@kubernetes/client-node';
import { buildNodeSelector, checkDriverToolkit } from './build-context.ts';
import type { BuildableTarget, BuilderName } from './builder.ts';
import { makeJob } from './job.ts';
import type { BuildFacts } from './job-facts.ts';
import { buildHash } from './job-hash.ts';
import type { Mount } from './mounts.ts';
import { layTemplates } from './overlay.ts';

/** The inputs of a build Job: a builder's container and its surroundings. */
export interface BuildJobOptions {
  readonly builder: BuilderName;
  readonly target: BuildableTarget;
  readonly facts: BuildFacts;
  readonly container: V1Container;
  readonly mounts: readonly Mount[];
  /** Security context of the pod if it has no user namespace. */
  readonly securityContext?: V1PodSecurityContext;
}

/** Creates the Job of a build. @throws BuilderError DRIVER_TOOLKIT_MISSING */
export function makeBuildJob({
  builder,
  target,
  facts,
  container,
  mounts,
  securityContext,
}: BuildJobOptions): V1Job {
  checkDriverToolkit(target, facts);
  return makeJob({
    kind: 'build',
    target,
    facts,
    hash: buildHash(target, builder, facts),
    container,
    mounts,
    settings: layTemplates(facts.podTemplate, target.build.podTemplate),
    nodeSelector: buildNodeSelector(target, facts),
    tolerations: target.tolerations,
    ...(facts.userNamespaces ? { hostUsers: false } : securityContext && { securityContext }),
  });
}
