import type { V1Job } from '@kubernetes/client-node';
import type { BuildFacts } from './job-facts.ts';
import type { BuildTarget, ModuleTarget } from './target.ts';

/** The programs that can build images in the cluster. */
export const builderNames = ['kaniko', 'buildah'] as const;
export type BuilderName = (typeof builderNames)[number];

/** A target whose image is built in the cluster. */
export type BuildableTarget = ModuleTarget & { readonly build: BuildTarget };

/** A program that builds images in the cluster. */
export interface Builder {
  readonly name: BuilderName;
  /** The image to use if the operator's configuration names none. */
  readonly defaultImage: string;
  /**
   * Creates the Job that builds a target's image from its Dockerfile and writes the digest of what it pushed
   * to its termination message. Equal inputs yield equal Jobs.
   * @throws BuilderError DRIVER_TOOLKIT_MISSING if the Dockerfile needs an image that is not known
   */
  buildJob(target: BuildableTarget, facts: BuildFacts): V1Job;
}
