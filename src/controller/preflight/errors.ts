import { KmmError } from '../../shared/errors.ts';

/** Why a release cannot be checked. */
export type PreflightErrorCode =
  /** The image holds no list of a release's images, or the list has no Driver Toolkit. */
  | 'NOT_A_RELEASE'
  /** The Driver Toolkit image does not say which kernels it is for. */
  | 'NOT_A_DRIVER_TOOLKIT'
  /** The release has no kernel of the kind that is asked for. */
  | 'KERNEL_MISSING'
  | 'PULL_SECRET_MISSING';

/** What a PreflightValidationOCP names does not say which kernel is to be checked. */
export class PreflightError extends KmmError<PreflightErrorCode> {
  override readonly name = 'PreflightError';
}
