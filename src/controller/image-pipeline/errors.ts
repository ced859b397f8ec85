import { KmmError } from '../../shared/errors.ts';

/** Why an image cannot be worked on until somebody changes something. */
export type PipelineErrorCode =
  /** The ConfigMap is not there, or holds no Dockerfile. */
  | 'DOCKERFILE_MISSING'
  | 'CERTIFICATE_SECRET_MISSING'
  | 'PULL_SECRET_MISSING'
  /** The operator's configuration lacks it. */
  | 'SIGN_IMAGE_UNKNOWN'
  /** A build makes an image for one architecture. */
  | 'SEVERAL_ARCHITECTURES'
  /** A build makes an image for one kernel. */
  | 'SEVERAL_KERNELS';

/** What the Module names is not there, or does not suffice. Changes of it are watched. */
export class PipelineError extends KmmError<PipelineErrorCode> {
  override readonly name = 'PipelineError';
}
