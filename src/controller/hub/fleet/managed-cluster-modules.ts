import {
  parseManagedClusterModule,
  type HubImageStatus,
  type ManagedClusterModule,
  type ManagedClusterModuleStatus,
} from '../../../api/managed-cluster-module.ts';
import { checkManagedClusterModule } from '../../../api/validation/module-spec.ts';
import { summarizeViolations } from '../../../api/schema/resource.ts';
import { KmmError } from '../../../shared/errors.ts';
import { moduleAnnotations } from '../../module/kernel-result.ts';
import type { CustomResource, FullMetadata } from '../../observe/cluster/resources.ts';
import { keyOf, type ObjectKey } from '../../runtime/api/object-key.ts';
import type { Resource } from '../../runtime/api/resource.ts';

/** A Module for clusters, and their selector. */
export const managedClusterModules: Resource<CustomResource> = {
  group: 'hub.kmm.sigs.x-k8s.io',
  version: 'v1beta1',
  plural: 'managedclustermodules',
  kind: 'ManagedClusterModule',
  namespaced: false,
};

/** A ManagedClusterModule in the cache: parsed, or with the reason why it is invalid. */
export interface CachedManagedClusterModule {
  readonly key: ObjectKey;
  readonly metadata: FullMetadata;
  readonly resource: ManagedClusterModule | undefined;
  readonly problem: string | undefined;
  /** Of an invalid one: its status, if it can be parsed. */
  readonly status?: ManagedClusterModuleStatus | undefined;
  /** Of an invalid one: its status as the API server has it. */
  readonly rawStatus?: unknown;
  /** The images in its status, by name. */
  readonly images: ReadonlyMap<string, HubImageStatus>;
}

/** Parses and checks a ManagedClusterModule. */
export function projectManagedClusterModule(object: CustomResource): CachedManagedClusterModule {
  const { metadata, status: rawStatus } = object;
  const common = { key: keyOf(object), metadata };
  try {
    const resource = parseManagedClusterModule(object);
    const { status } = resource;
    const images = new Map(status?.images?.map((entry) => [entry.image, entry]));
    // The hub may have no webhook, or had none when the object was created.
    const { errors } = checkManagedClusterModule(resource);
    if (errors.length === 0) return { ...common, resource, problem: undefined, images };
    const problem = summarizeViolations(errors);
    return { ...common, resource: undefined, problem, status, rawStatus, images };
  } catch (error) {
    if (!(error instanceof KmmError)) throw error;
    return { ...common, resource: undefined, problem: error.message, rawStatus, images: new Map() };
  }
}

/** Returns the version of the view that a ManagedClusterModule needs. */
export function viewVersionOf({ metadata }: ManagedClusterModule): string {
  const { annotations = {}, generation, uid } = metadata;
  const marks = Object.values(moduleAnnotations).map((key) => annotations[key] ?? null);
  return JSON.stringify([uid, generation, ...marks]);
}
