import { KmmError } from '../../shared/errors.ts';

/** Why a custom resource was not accepted. */
export type ResourceErrorCode =
  /** The object does not have the form that its kind asks for, or breaks a rule. */
  'INVALID_RESOURCE';

/** An error about a custom resource. `facts.violations` holds one sentence for each thing that is wrong. */
export class ResourceError extends KmmError<ResourceErrorCode> {
  override readonly name = 'ResourceError';
}
