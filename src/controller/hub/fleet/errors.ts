import { KmmError } from '../../../shared/errors.ts';
import { isApiError } from '../../runtime/api/errors.ts';
import type { ObjectKey } from '../../runtime/api/object-key.ts';

/** Why a cluster does not get its Module. */
export type HubErrorCode =
  /** The Module exceeds the size limit of Open Cluster Management. */
  | 'MANIFEST_WORK_TOO_LARGE'
  /** Its kernels need more images than the status can list. */
  | 'TOO_MANY_IMAGES'
  /** A mapping yields an image name that is too long for any registry. */
  | 'IMAGE_NAME_TOO_LONG'
  /** The hub has no namespace for the cluster. */
  | 'CLUSTER_NAMESPACE_MISSING'
  /** The cluster's namespace on the hub is being deleted. */
  | 'CLUSTER_NAMESPACE_TERMINATING';

/** An error about one cluster of a ManagedClusterModule. It does not affect other clusters. */
export class HubError extends KmmError<HubErrorCode> {
  override readonly name = 'HubError';
}

/**
 * Throws the reason why a ManifestWork could not be written: a HubError if it is the cluster's namespace,
 * else the error itself.
 */
export function throwNamespaceError(error: unknown, { namespace: cluster = '', name }: ObjectKey): never {
  const facts = { cluster, managedClusterModule: name };
  if (isApiError(error, 'NOT_FOUND') && error.facts['kind'] === 'namespaces') {
    throw new HubError({
      code: 'CLUSTER_NAMESPACE_MISSING',
      message: `The hub has no namespace ${cluster} for the cluster`,
      hint: 'Open Cluster Management creates it when the cluster is accepted (spec.hubAcceptsClient of the ManagedCluster).',
      facts,
      cause: error,
    });
  }
  const causes = isApiError(error, 'FORBIDDEN') ? error.facts['causes'] : undefined;
  if (Array.isArray(causes) && causes.includes('NamespaceTerminating')) {
    throw new HubError({
      code: 'CLUSTER_NAMESPACE_TERMINATING',
      message: `The namespace ${cluster} of the cluster is being deleted on the hub`,
      hint: 'Recreate it once it has been deleted, or delete the ManagedCluster.',
      facts,
      cause: error,
    });
  }
  throw error;
}
