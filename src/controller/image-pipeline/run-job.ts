import { fromLibrary, jobs, type Job } from '../observe/cluster/resources.ts';
import type { PodFacts } from '../observe/cluster/projections.ts';
import { isApiError } from '../runtime/api/errors.ts';
import { describeFailure, podOf } from './job-failure.ts';
import type { JobOf } from './job-manifests.ts';
import { standingOf, type JobProgress } from './job-tries.ts';
import type { PipelineRequest, PipelineServices } from './request.ts';

/** What is to be said of a Job that does not run yet, though nothing is wrong with it. */
const suspension = { reason: 'JobSuspended', problem: 'it is suspended' };

/** Reasons to wait that every pod has for a moment. */
const usualWaits = ['ContainerCreating', 'PodInitializing'];

/**
 * Follows the Job of the try that counts, and makes it where it is not there.
 * @param mayCreate Jobs are made only on the strength of facts that were read without caches
 * @returns undefined when a Job would have to be made, and may not
 * @throws ApiError, and what the request's `confirm` throws
 */
export async function runJob(
  services: PipelineServices,
  request: PipelineRequest,
  jobOf: JobOf,
  { mayCreate, signal }: { readonly mayCreate: boolean; readonly signal: AbortSignal },
): Promise<JobProgress | undefined> {
  const { caches, settings, now = Date.now, admit = (job: Job) => job } = services;
  const { namespace, confirm, earlier } = request;
  const nameOf = (attempt: number): string => jobOf(attempt).metadata?.name ?? '';
  const find = (name: string) => caches.jobs.get({ namespace, name });
  const standing = standingOf(nameOf, find, { ...settings, now: now() });
  const { attempt: attempts, jobs: names } = standing;
  const common = { job: names.at(-1) ?? '', attempts, jobs: names };
  switch (standing.state) {
    case 'missing': {
      const admitted = admit(fromLibrary(jobOf(attempts)));
      if (admitted === undefined) return { ...common, state: 'queued' };
      if (!mayCreate) return undefined;
      await confirm?.();
      await createJob(services, admitted, signal);
      return { ...common, state: 'running', ...troubleOf(podOf(services, { namespace, name: common.job })) };
    }
    case 'running': {
      const { key, suspended } = standing.found;
      const trouble = suspended ? suspension : troubleOf(podOf(services, key));
      return { ...common, state: 'running', ...trouble };
    }
    case 'succeeded': {
      const { key, uid, ended } = standing.found;
      return { ...common, state: 'succeeded', ended: Date.parse(ended ?? ''), key, uid };
    }
    case 'waiting': {
      const message = await describeFailure(services, standing.found, { earlier, signal });
      return { ...common, state: 'waiting', message, wait: standing.wait };
    }
    case 'failed': {
      const message = await describeFailure(services, standing.found, { earlier, signal });
      return { ...common, state: 'failed', message };
    }
  }
}

/** Makes a Job. That it is there already is success: its name says that it is the same work. */
async function createJob({ client, log }: PipelineServices, job: Job, signal: AbortSignal): Promise<void> {
  try {
    await client.create(jobs, job, { signal });
    log.info('job created', { namespace: job.metadata.namespace, job: job.metadata.name });
  } catch (error) {
    if (!isApiError(error, 'ALREADY_EXISTS')) throw error;
  }
}

/** Why a pod waits, unless that is how every pod starts. */
function troubleOf(pod: PodFacts | undefined): { problem: string | undefined; reason: string | undefined } {
  const { reason = '', message = '' } = pod?.waiting ?? {};
  if (reason === '' || usualWaits.includes(reason)) return { problem: undefined, reason: undefined };
  return { problem: message === '' ? reason : message, reason };
}
