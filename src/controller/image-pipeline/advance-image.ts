import { JobWanted, withoutJobs, withoutMemory } from './close-look.ts';
import type { PipelineResult } from './image-state.ts';
import { findCredentials } from './inputs.ts';
import { Pipeline } from './pipeline.ts';
import type { PipelineRequest } from './request.ts';
import type { PipelineServices } from './services.ts';

/**
 * Brings one image nearer to being ready: built where it is missing or its recipe changed, signed where its
 * modules do not carry the certificate's signature. Keeps nothing in memory, so it may be called at any time, by
 * several at a time. Before a Job is made, everything is asked for anew.
 * @throws PipelineError, BuilderError, RegistryError, ApiError, what reading references and what `confirm` throws
 */
export async function advanceImage(
  services: PipelineServices,
  request: PipelineRequest,
  signal: AbortSignal,
): Promise<PipelineResult> {
  try {
    return await look(services, withoutJobs(request), signal);
  } catch (error) {
    if (!(error instanceof JobWanted)) throw error;
    return advanceImageClosely(services, request, signal);
  }
}

/** The same without caches of images and references. */
export function advanceImageClosely(
  services: PipelineServices,
  request: PipelineRequest,
  signal: AbortSignal,
): Promise<PipelineResult> {
  return look(withoutMemory(services, request), request, signal);
}

async function look(
  services: PipelineServices,
  request: PipelineRequest,
  signal: AbortSignal,
): Promise<PipelineResult> {
  const credentials = await findCredentials(services, request);
  return new Pipeline(services, request, credentials, signal).advance();
}
