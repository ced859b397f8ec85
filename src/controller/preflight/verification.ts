import type { VerifiedModule } from '../../api/preflight-validation.ts';
import type { ImageState } from '../image-pipeline/request.ts';

/** The result for a Module. */
export interface Verification extends Pick<
  VerifiedModule,
  'image' | 'digest' | 'unsignedDigest' | 'inputs' | 'job' | 'verified'
> {
  readonly status: 'Success' | 'Failure' | 'InProgress';
  /** One of the stages that KMM has had in every version: it had more up to 2.3. */
  readonly stage: Extract<VerifiedModule['verificationStage'], 'Image' | 'Done'>;
  /** A sentence. */
  readonly reason: string;
  /** Milliseconds until it should be checked again although nothing changed. */
  readonly requeueAfter?: number | undefined;
  /** Why the check failed, if a retry may help. */
  readonly error?: unknown;
}

export function succeeded(reason: string): Verification {
  return { status: 'Success', stage: 'Done', reason };
}

export function failed(reason: string): Verification {
  return { status: 'Failure', stage: 'Done', reason };
}

/**
 * Returns the result that follows from the state of an image before its content is checked.
 * @param signs whether the Module has the image signed
 */
export function verificationOf(state: ImageState, signs: boolean): Verification {
  const { phase, reason, message, inputs, job, unsignedDigest, requeueAfter } = state;
  const progress = { inputs, job, unsignedDigest, requeueAfter };
  if (reason === 'BuildTried' && !signs) {
    return {
      ...succeeded(`${message}; the result was not pushed, so its content was not checked`),
      ...progress,
    };
  }
  if (reason === 'BuildTried' || reason === 'SignatureNotTried') {
    return { ...failed(`${message}. Set pushBuiltImage to sign and check it.`), ...progress };
  }
  if (phase === 'Failed') return { ...failed(message), ...progress };
  return { status: 'InProgress', stage: 'Image', reason: message, ...progress };
}
