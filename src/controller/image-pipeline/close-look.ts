import { ReferenceCache } from '../references/reference-cache.ts';
import type { PipelineRequest } from './request.ts';
import type { PipelineServices } from './services.ts';

/** Thrown where a Job is to be made on the strength of what is remembered. */
export class JobWanted extends Error {
  override readonly name = 'JobWanted';
}

/** A request that makes no Job, but says that one is wanted. */
export function withoutJobs(request: PipelineRequest): PipelineRequest {
  return {
    ...request,
    confirm: () => {
      throw new JobWanted('a Job is wanted');
    },
  };
}

/**
 * Services that ask the API server and registries anew. What caches hold may be late, and another operator may
 * have done the work, and cleared up behind it, meanwhile.
 */
export function withoutMemory(services: PipelineServices, { target }: PipelineRequest): PipelineServices {
  const { client, log, images } = services;
  for (const image of [target.image, target.build?.image, target.sign?.unsignedImage]) {
    if (image !== undefined) images.forget(image);
  }
  // What is not followed is read directly.
  return { ...services, references: new ReferenceCache({ client, log }) };
}
