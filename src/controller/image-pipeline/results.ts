import type { ModuleTarget } from '../../builder/target.ts';
import type { JobProgress } from './job-attempts.ts';
import type { ImageState, PipelineRequest, PipelineResult } from './request.ts';

/** Milliseconds until an image that does not exist and that nobody builds is looked up again. */
const missingImageDelay = 60_000;

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

/** Returns what stays recorded while the image is not ready. */
function retained({ earlier }: PipelineRequest): Pick<ImageState, 'unsignedDigest' | 'inputs'> {
  return { unsignedDigest: earlier?.unsignedDigest, inputs: earlier?.inputs };
}
