import type { LayerCacheVolume } from '../../builder/job-inputs.ts';
import type { VolumeClaimState } from '../observe/references/projections.ts';
import { ReferencedObjectError } from '../observe/references/reference.ts';
import type { PipelineRequest, PipelineServices, PipelineSettings } from './request.ts';

/** Why a claim is not mounted, by its state. */
const problems: Readonly<Record<Exclude<VolumeClaimState, 'usable'> | 'missing', string>> = {
  missing: 'no such claim',
  deleting: 'the claim is being deleted',
  lost: 'the volume of the claim is lost',
};

/**
 * Returns the configured volume for what layers contain if the namespace has the claim, and a pod could mount it: a
 * Job works without, but its pod would wait for a claim that is missing. The log says why there is none.
 * @throws ApiError
 */
export async function usableLayerCache(
  services: Pick<PipelineServices, 'references' | 'log'> & {
    readonly settings: Pick<PipelineSettings, 'layerCache'>;
  },
  { namespace }: Pick<PipelineRequest, 'namespace'>,
): Promise<LayerCacheVolume | undefined> {
  const { layerCache } = services.settings;
  if (layerCache === undefined) return undefined;
  const { claim } = layerCache;
  const problem = await problemOf(services, { namespace, name: claim });
  if (problem === undefined) return layerCache;
  // Not every namespace needs one.
  const level = problem === problems.missing ? 'info' : 'warn';
  services.log[level]('signing without a cache of layers', { namespace, claim, problem });
  return undefined;
}

async function problemOf(
  { references }: Pick<PipelineServices, 'references'>,
  claim: { readonly namespace: string; readonly name: string },
): Promise<string | undefined> {
  try {
    const state = (await references.volumeClaim(claim)) ?? 'missing';
    return state === 'usable' ? undefined : problems[state];
  } catch (error) {
    if (error instanceof ReferencedObjectError) return `${error.message}. ${error.hint}`;
    throw error;
  }
}
