import {
  parseManagedClusterModule,
  type HubImageStatus,
  type ManagedClusterModule,
  type ManagedClusterModuleStatus,
} from '../../../api/managed-cluster-module.ts';
import { checkManagedClusterModule } from '../../../api/validation/managed-cluster-module.ts';
import { summarizeViolations } from '../../../api/schema/violation.ts';
import { KmmError } from '../../../shared/errors.ts';
import { moduleAnnotations } from '../../module/kernel-result.ts';
import type { CustomResource, FullMetadata } from '../../observe/cluster/resources.ts';
import { keyOf, type ObjectKey } from '../../runtime/api/object-key.ts';

/** A ManagedClusterModule as the cache has it: parsed, or why it cannot be worked on. */
export interface CachedManagedClusterModule {
  readonly key: ObjectKey;
  readonly metadata: FullMetadata;
  readonly resource: ManagedClusterModule | undefined;
  readonly problem: string | undefined;
  /** With a problem, if it can be read: what its status says. */
  readonly status?: ManagedClusterModuleStatus | undefined;
  /** With a problem: its status as the API server has it. */
  readonly rawStatus?: unknown;
  /** What its status says of images, by name. */
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
    // A hub may have no webhook, or have had none when it was made.
    const { errors } = checkManagedClusterModule(resource);
    if (errors.length === 0) return { ...common, resource, problem: undefined, images };
    const problem = summarizeViolations(errors);
    return { ...common, resource: undefined, problem, status, rawStatus, images };
  } catch (error) {
    if (!(error instanceof KmmError)) throw error;
    return { ...common, resource: undefined, problem: error.message, rawStatus, images: new Map() };
  }
}

/** The version of the view that a ManagedClusterModule needs. */
export function viewVersionOf({ metadata }: ManagedClusterModule): string {
  const { annotations = {}, generation, uid } = metadata;
  const marks = Object.values(moduleAnnotations).map((key) => annotations[key] ?? null);
  return JSON.stringify([uid, generation, ...marks]);
}
