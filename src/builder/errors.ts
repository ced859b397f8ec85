import { KmmError } from '../shared/errors.ts';

/** Why no Job can be made. */
export type BuilderErrorCode =
  /** The name of an image cannot be used for what is asked. */
  | 'INVALID_IMAGE'
  /** The Module lacks something that the Job needs. */
  | 'INCOMPLETE_MODULE'
  /** The Dockerfile asks for DTK_AUTO and no Driver Toolkit image is known for the node. */
  | 'DRIVER_TOOLKIT_MISSING';

/** An error of the builder floor. */
export class BuilderError extends KmmError<BuilderErrorCode> {
  override readonly name = 'BuilderError';
}
