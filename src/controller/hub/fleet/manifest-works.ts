import * as z from 'zod';
import { shortHash, type Json } from '../../../builder/names.ts';
import type { CustomResource, FullMetadata } from '../../observe/cluster/resources.ts';
import { keyOf, type ObjectKey } from '../../runtime/api/object-key.ts';
import { readFeedback, type ModuleFeedback } from './feedback.ts';
import type { Resource } from '../../runtime/api/resource.ts';

/** Open Cluster Management: objects for a cluster, in the hub's namespace of the cluster's name. */
export const manifestWorks: Resource<CustomResource> = {
  group: 'work.open-cluster-management.io',
  version: 'v1',
  plural: 'manifestworks',
  kind: 'ManifestWork',
  namespaced: true,
};

/** The part of a ManifestWork that is cached. */
export interface CachedManifestWork {
  readonly key: ObjectKey;
  readonly uid: string;
  readonly generation: number;
  /** UID of the ManagedClusterModule that controls it. */
  readonly ownerUid: string | undefined;
  /** Hash of its spec: equal specs have equal hashes. */
  readonly specHash: string;
  /** Whether the cluster has what the spec says now; undefined until its agent has tried. */
  readonly applied: boolean | undefined;
  /** Why it is not applied, from the condition of the manifest, else of the work. */
  readonly problem: { readonly reason: string; readonly message: string } | undefined;
  /** Whether the agent reports the work as degraded. */
  readonly degraded: boolean;
  readonly feedback: ModuleFeedback;
  readonly deleting: boolean;
}

const conditionSchema = z.looseObject({
  type: z.string(),
  status: z.string(),
  reason: z.string().catch(''),
  message: z.string().catch(''),
  observedGeneration: z.number().optional().catch(undefined),
});
type WorkCondition = z.output<typeof conditionSchema>;

const conditionList = z.array(conditionSchema).catch([]);
const workStatus = z
  .looseObject({
    conditions: conditionList,
    resourceStatus: z
      .looseObject({
        manifests: z
          .array(
            z.looseObject({
              conditions: conditionList,
              statusFeedback: z.looseObject({ values: z.unknown() }).partial().catch({}),
            }),
          )
          .catch([]),
      })
      .partial()
      .catch({}),
  })
  .partial()
  .catch({});

/** The longest reason and message kept from an agent, in characters. */
const maxReason = 64;
const maxMessage = 512;

/** Returns the hash of a ManifestWork's spec. */
export function specHashOf({ spec }: Pick<CustomResource, 'spec'>): string {
  return shortHash(spec as Json);
}

/** Returns the UID of the object that controls one; undefined if none does. */
export function controllerUidOf({ ownerReferences }: FullMetadata): string | undefined {
  return ownerReferences?.find(({ controller }) => controller === true)?.uid;
}

/**
 * Reduces a ManifestWork to what is used. What cannot be parsed of its status counts as absent.
 * @param previous what it was reduced to before
 */
export function projectManifestWork(work: CustomResource, previous?: CachedManifestWork): CachedManifestWork {
  const { metadata, status } = work;
  const { uid = '', generation = 0 } = metadata;
  // Agents report all the time; the API server raises the generation whenever a spec changes.
  const isSameSpec = generation > 0 && previous?.uid === uid && previous.generation === generation;
  const { conditions = [], resourceStatus } = workStatus.parse(status);
  const [manifest] = resourceStatus?.manifests ?? [];
  const current = conditions.filter(
    ({ observedGeneration }) =>
      observedGeneration === undefined || observedGeneration === metadata.generation,
  );
  const applied = find(current, 'Applied');
  const failure =
    applied?.status === 'False' ? (failed(find(manifest?.conditions, 'Applied')) ?? applied) : undefined;
  return {
    key: keyOf(work),
    uid,
    generation,
    ownerUid: controllerUidOf(metadata),
    specHash: isSameSpec ? previous.specHash : specHashOf(work),
    applied: applied === undefined ? undefined : applied.status === 'True',
    problem: failure && {
      reason: failure.reason.slice(0, maxReason),
      message: failure.message.slice(0, maxMessage),
    },
    degraded: find(current, 'Degraded')?.status === 'True',
    feedback: readFeedback(manifest?.statusFeedback.values),
    deleting: metadata.deletionTimestamp !== undefined,
  };
}

function find(conditions: readonly WorkCondition[] | undefined, type: string): WorkCondition | undefined {
  return conditions?.find((condition) => condition.type === type);
}

function failed(condition: WorkCondition | undefined): WorkCondition | undefined {
  return condition?.status === 'False' ? condition : undefined;
}
