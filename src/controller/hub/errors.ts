import { KmmError } from '../../shared/errors.ts';

/** Why a cluster does not get its Module. */
export type HubErrorCode =
  /** The Module is larger than Open Cluster Management passes on. */
  | 'MANIFEST_WORK_TOO_LARGE'
  /** Its kernels need more images than the status can list. */
  | 'TOO_MANY_IMAGES'
  /** A mapping gives a name for the image that no registry takes. */
  | 'IMAGE_NAME_TOO_LONG'
  /** The hub has no namespace for the cluster. */
  | 'CLUSTER_NAMESPACE_MISSING'
  /** The cluster's namespace on the hub is being deleted. */
  | 'CLUSTER_NAMESPACE_TERMINATING';

/** An error about one cluster of a ManagedClusterModule. Other clusters go on. */
export class HubError extends KmmError<HubErrorCode> {
  override readonly name = 'HubError';
}
