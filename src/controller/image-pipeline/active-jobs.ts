import { KmmError } from '../../shared/errors.ts';
import type { Credentials } from './inputs.ts';
import { findCurrentAttempt } from './job-attempts.ts';
import { buildJobs, signJobs, type JobForAttempt } from './job-manifests.ts';
import type { ImageFacts } from './next-step.ts';
import type { PipelineRequest, PipelineServices } from './request.ts';

/**
 * Returns the names of Jobs that are active and do exactly what an image that is ready would be made with. Such a
 * Job has just pushed it: nobody may have persisted yet that it runs, and it must end by itself.
 * @param unsignedDigest what the image was signed from, if known
 */
export function findActiveJobs(
  services: PipelineServices,
  request: PipelineRequest,
  {
    facts: { dockerfile, certificate },
    unsignedDigest,
    credentials,
  }: {
    readonly facts: ImageFacts;
    readonly unsignedDigest: string | undefined;
    readonly credentials: Credentials;
  },
): string[] {
  const { settings } = services;
  const { build, sign } = request.target;
  const image = build?.image ?? sign?.unsignedImage;
  return [
    ...namesOf(
      services,
      request,
      () => build && dockerfile && buildJobs(settings, request, { dockerfile, credentials }),
    ),
    ...namesOf(services, request, () => {
      if (!sign || !certificate || image === undefined || unsignedDigest === undefined) return undefined;
      const source = { image, digest: unsignedDigest };
      return signJobs(settings, request, { sign, source, certificate, credentials });
    }),
  ];
}

/** Returns the names of the Jobs of a piece of work that is under way. */
function namesOf(
  { caches, settings, now = Date.now }: PipelineServices,
  { namespace }: PipelineRequest,
  describeJobs: () => JobForAttempt | undefined,
): readonly string[] {
  try {
    const jobForAttempt = describeJobs();
    if (jobForAttempt === undefined) return [];
    const nameOf = (attempt: number): string => jobForAttempt(attempt).metadata?.name ?? '';
    const find = (name: string) => caches.jobs.get({ namespace, name });
    const { state, jobs } = findCurrentAttempt(nameOf, find, { ...settings, now: now() });
    return state === 'running' ? jobs : [];
  } catch (error) {
    // No such Job can be made, and the image is there without.
    if (error instanceof KmmError) return [];
    throw error;
  }
}
