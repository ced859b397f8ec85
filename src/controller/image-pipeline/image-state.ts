import type { KernelPhase } from '../../api/module/status.ts';
import { KmmError } from '../../shared/errors.ts';

/** How far an image is, in words that go to a status as they are. */
export interface ImageState {
  readonly phase: KernelPhase;
  /** A word in CamelCase. */
  readonly reason: string;
  /** A sentence. */
  readonly message: string;
  /** Digest that nodes may run: set if and only if the phase is Ready. */
  readonly digest?: string | undefined;
  /** Digest of what the ready image was signed from. */
  readonly unsignedDigest?: string | undefined;
  /** Hash of what the user said about the build that stands. */
  readonly inputs?: string | undefined;
  /** Name of the Job that works on it, or worked last. */
  readonly job?: string | undefined;
  /** Jobs that failed for the present inputs. */
  readonly attempts?: number | undefined;
  /** Milliseconds until it should be looked at again although nothing changed. */
  readonly requeueAfter?: number | undefined;
}

/** What an earlier look at the image found, as it is persisted. */
export type EarlierState = Pick<ImageState, 'phase' | 'unsignedDigest' | 'inputs' | 'job' | 'attempts'> & {
  readonly message?: string | undefined;
  readonly digest?: string | undefined;
};

/** A state, and the Jobs that belong to the present inputs: all others of the same image can go. */
export interface PipelineResult {
  readonly state: ImageState;
  readonly jobs: readonly string[];
}

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
