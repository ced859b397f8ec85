import { KmmError } from '../shared/errors.ts';

/** Why a Job cannot be created. */
export type BuilderErrorCode =
  /** The image name cannot be used for this purpose. */
  | 'INVALID_IMAGE'
  /** The Module lacks something that the Job needs. */
  | 'INCOMPLETE_MODULE'
  /** The Dockerfile uses DTK_AUTO and no Driver Toolkit image is known for the node. */
  | 'DRIVER_TOOLKIT_MISSING';

/** An error of the builder. */
export class BuilderError extends KmmError<BuilderErrorCode> {
  override readonly name = 'BuilderError';
}
