import type { KernelPhase } from '../../api/module/status.ts';
import { KmmError } from '../../shared/errors.ts';

/** How far an image is, worded for a status. */
export interface ImageState {
  readonly phase: KernelPhase;
  /** A CamelCase word. */
  readonly reason: string;
  /** A sentence. */
  readonly message: string;
  /** Digest that nodes may run: set if and only if the phase is Ready. */
  readonly digest?: string | undefined;
  /** Digest of the image from which the ready image was signed. */
  readonly unsignedDigest?: string | undefined;
  /** Hash of the user's input for the current build. */
  readonly inputs?: string | undefined;
  /** Name of the current or last Job. */
  readonly job?: string | undefined;
  /** Number of Jobs that failed for the current inputs. */
  readonly attempts?: number | undefined;
  /** Milliseconds until it should be checked again although nothing changed. */
  readonly requeueAfter?: number | undefined;
}

/** The persisted result of an earlier check of the image. */
export type EarlierState = Pick<ImageState, 'phase' | 'unsignedDigest' | 'inputs' | 'job' | 'attempts'> & {
  readonly message?: string | undefined;
  readonly digest?: string | undefined;
};

/** A state, and the Jobs of the current inputs: all others of the same image can be deleted. */
export interface PipelineResult {
  readonly state: ImageState;
  readonly jobs: readonly string[];
}

/** Why work on an image is blocked until somebody changes something. */
export type PipelineErrorCode =
  /** The ConfigMap does not exist, or has no Dockerfile. */
  | 'DOCKERFILE_MISSING'
  | 'CERTIFICATE_SECRET_MISSING'
  | 'PULL_SECRET_MISSING'
  /** The operator's configuration does not name it. */
  | 'SIGN_IMAGE_UNKNOWN'
  /** A build makes an image for only one architecture. */
  | 'SEVERAL_ARCHITECTURES'
  /** A build makes an image for only one kernel. */
  | 'SEVERAL_KERNELS';

/** Something that the Module names does not exist, or does not suffice. Its changes are watched. */
export class PipelineError extends KmmError<PipelineErrorCode> {
  override readonly name = 'PipelineError';
}
