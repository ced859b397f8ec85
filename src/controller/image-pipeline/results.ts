import type { ModuleTarget } from '../../builder/target.ts';
import type { JobProgress } from './job-attempts.ts';
import type { ImageState, PipelineRequest, PipelineResult } from './request.ts';

/** Milliseconds until an image that does not exist and that nobody builds is looked up again. */
const missingImageDelay = 60_000;
/** Milliseconds after the success of a Job until it is repeated if its image is not there, or not signed. */
const vanishedImageDelay = 600_000;
/** The same if the image was certainly overwritten: long enough that two that do so do not race. */
const overwrittenImageDelay = 60_000;

type SucceededJob = Extract<JobProgress, { state: 'succeeded' }>;

/** A result, and Jobs to delete so that their work is repeated. */
export interface RepeatableResult {
  readonly result: PipelineResult;
  readonly repeat?: readonly Pick<SucceededJob, 'key' | 'uid'>[] | undefined;
}

/** Reports an image that nodes can run. `unsignedDigest`: what it was signed from, if known. */
export function ready(
  { target, earlier }: PipelineRequest,
  digest: string,
  {
    unsignedDigest,
    inputs,
    jobs,
  }: {
    readonly unsignedDigest: string | undefined;
    readonly inputs: string;
    readonly jobs: readonly string[];
  },
): PipelineResult {
  const signed = target.sign !== undefined;
  const state: ImageState = {
    phase: 'Ready',
    reason: signed ? 'Signed' : 'ImageFound',
    message: signed ? `${target.image} exists, and its modules are signed` : `${target.image} exists`,
    digest,
    unsignedDigest: signed ? (unsignedDigest ?? earlier?.unsignedDigest) : undefined,
    inputs,
    job: jobs.at(-1) ?? earlier?.job,
  };
  return { state, jobs };
}

/** Reports a failure that lasts until something changes; the image is checked again all the same. */
export function failed(
  request: PipelineRequest,
  reason: string,
  message: string,
  more: Partial<ImageState> = {},
): PipelineResult {
  const state: ImageState = {
    phase: 'Failed',
    reason,
    message,
    requeueAfter: missingImageDelay,
    ...retained(request),
    ...more,
  };
  return { state, jobs: more.job === undefined ? [] : [more.job] };
}

/** Reports a Job that is running, is waiting or has finally failed. */
export function notSucceeded(
  request: PipelineRequest,
  kind: 'Build' | 'Sign',
  progress: Exclude<JobProgress, { state: 'succeeded' }>,
): PipelineResult {
  const { job, attempts, jobs } = progress;
  const phase = kind === 'Build' ? 'Building' : 'Signing';
  const common = { job, attempts, ...retained(request) };
  switch (progress.state) {
    case 'running': {
      const { reason = `${kind}Running`, problem } = progress;
      const message = problem === undefined ? `Job ${job} is running` : `Job ${job} cannot start: ${problem}`;
      return { state: { ...common, phase, reason, message }, jobs };
    }
    case 'queued': {
      const message = `Job ${job} is queued`;
      return { state: { ...common, job: undefined, phase, reason: `${kind}Queued`, message }, jobs };
    }
    case 'waiting':
    case 'failed': {
      const requeueAfter = progress.state === 'waiting' ? progress.wait : undefined;
      const { message } = progress;
      return { state: { ...common, phase: 'Failed', reason: `${kind}Failed`, message, requeueAfter }, jobs };
    }
  }
}

/** Reports a successful build whose result was not pushed. */
export function buildTried(request: PipelineRequest, { job, jobs }: JobProgress): PipelineResult {
  const { image, sign }: ModuleTarget = request.target;
  const unsigned = sign === undefined ? '' : ', but signing it was not tried because nothing is pushed';
  const message = `${image} can be built${unsigned}`;
  return { state: { ...retained(request), phase: 'Pending', reason: 'BuildTried', message, job }, jobs };
}

/** Reports that nothing was signed because the source would have to be pushed first. */
export function signatureNotTried(
  request: PipelineRequest,
  source: string,
  jobs: readonly string[],
): PipelineResult {
  const message = `${request.target.image} does not exist with the signatures that the Module requests, and signing ${source} was not tried because nothing is pushed`;
  return { state: { ...retained(request), phase: 'Pending', reason: 'SignatureNotTried', message }, jobs };
}

/** Reports that a Job pushed an image that the registry does not have. After a while the Job is repeated. */
export function imageVanished(
  request: PipelineRequest,
  image: string,
  job: SucceededJob,
  now: number,
): RepeatableResult {
  const message = `Job ${job.job} succeeded, but ${image} is not in the registry`;
  return repeated(job, job.ended + vanishedImageDelay - now, (requeueAfter) =>
    failed(request, 'ImageVanished', message, { job: job.job, requeueAfter }),
  );
}

/**
 * Reports an image that is not signed as it should be although a Job has signed it. If it was overwritten
 * since, the Job is repeated, after a while also if that is uncertain.
 */
export function wronglySigned(
  request: PipelineRequest,
  job: SucceededJob,
  { digest, problem }: { readonly digest: string; readonly problem: string },
  now: number,
): RepeatableResult {
  const { earlier, target } = request;
  const pushed = job.pushed ?? (earlier?.job === job.job ? earlier.digest : undefined);
  if (pushed !== undefined && pushed !== digest) {
    const next = request.isContested === true ? 'another Module pushes it, too' : 'is signed again';
    const message = `${target.image} was overwritten after Job ${job.job} had signed it, and ${next}: ${problem}`;
    if (request.isContested === true)
      return { result: failed(request, 'ImageOverwritten', message, { job: job.job }) };
    return repeated(job, job.ended + overwrittenImageDelay - now, (requeueAfter) =>
      failed(request, 'ImageOverwritten', message, { job: job.job, requeueAfter }),
    );
  }
  const message = `${target.image} was signed by Job ${job.job}, but its verification failed: ${problem}`;
  if (pushed !== undefined)
    return { result: failed(request, 'VerificationFailed', message, { job: job.job }) };
  return repeated(job, job.ended + vanishedImageDelay - now, (wait) => {
    const requeueAfter = Math.min(wait, missingImageDelay);
    return failed(request, 'VerificationFailed', message, { job: job.job, requeueAfter });
  });
}

/** Repeats a Job, or waits for so many milliseconds before that. */
function repeated(
  { key, uid }: SucceededJob,
  wait: number,
  resultFor: (requeueAfter: number) => PipelineResult,
): RepeatableResult {
  const result = resultFor(Math.max(wait, 1000));
  return wait <= 0 ? { result, repeat: [{ key, uid }] } : { result };
}

/** Returns what stays recorded while the image is not ready. */
function retained({ earlier }: PipelineRequest): Pick<ImageState, 'unsignedDigest' | 'inputs'> {
  return { unsignedDigest: earlier?.unsignedDigest, inputs: earlier?.inputs };
}
