import { KmmError } from '../../shared/errors.ts';

/** Why a cluster does not get its Module. */
export type HubErrorCode =
  /** The Module is larger than Open Cluster Management passes on. */
  'MANIFEST_WORK_TOO_LARGE';

/** An error about one cluster of a ManagedClusterModule. Other clusters go on. */
export class HubError extends KmmError<HubErrorCode> {
  override readonly name = 'HubError';
}
