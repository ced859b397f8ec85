import { isDigest } from '../../registry/model/digest.ts';
import { fromLibrary, jobs, type Job } from '../observe/cluster/resources.ts';
import type { PodFacts } from '../observe/cluster/projections.ts';
import { isApiError } from '../runtime/api/errors.ts';
import { describeFailure, podOf } from './job-failure.ts';
import type { JobForAttempt } from './job-manifests.ts';
import { findCurrentAttempt, type JobProgress } from './job-attempts.ts';
import type { PipelineRequest, PipelineServices } from './request.ts';

/** Reported for a suspended Job: it does not run yet, but nothing is wrong with it. */
const suspension = { reason: 'JobSuspended', problem: 'it is suspended' };

/** Reasons for waiting that every pod has for a moment. */
const normalWaitReasons = ['ContainerCreating', 'PodInitializing'];

/**
 * Follows the Job of the current attempt, and creates it if it does not exist.
 * @param mayCreate Jobs are only created on the basis of facts that were read without caches
 * @returns undefined if a Job would have to be created but must not
 * @throws ApiError, and errors of the request's `confirm`
 */
export async function runJob(
  services: PipelineServices,
  request: PipelineRequest,
  jobForAttempt: JobForAttempt,
  { mayCreate, signal }: { readonly mayCreate: boolean; readonly signal: AbortSignal },
): Promise<JobProgress | undefined> {
  const { caches, settings, now = Date.now, admit = (job: Job) => job } = services;
  const { namespace, confirm, earlier } = request;
  const nameOf = (attempt: number): string => jobForAttempt(attempt).metadata?.name ?? '';
  const find = (name: string) => caches.jobs.get({ namespace, name });
  const current = findCurrentAttempt(nameOf, find, { ...settings, now: now() });
  const { attempt: attempts, jobs: names } = current;
  const common = { job: names.at(-1) ?? '', attempts, jobs: names };
  switch (current.state) {
    case 'missing': {
      const admitted = admit(fromLibrary(jobForAttempt(attempts)));
      if (admitted === undefined) return { ...common, state: 'queued' };
      if (!mayCreate) return undefined;
      await confirm?.();
      await createJob(services, admitted, signal);
      return { ...common, state: 'running', ...problemOf(podOf(services, { namespace, name: common.job })) };
    }
    case 'running': {
      const { key, suspended } = current.found;
      const problem = suspended ? suspension : problemOf(podOf(services, key));
      return { ...common, state: 'running', ...problem };
    }
    case 'succeeded': {
      const { key, uid, ended } = current.found;
      const pushed = podOf(services, key)?.terminated?.message.trim();
      return {
        ...common,
        state: 'succeeded',
        ended: Date.parse(ended ?? ''),
        key,
        uid,
        pushed: pushed !== undefined && isDigest(pushed) ? pushed : undefined,
      };
    }
    case 'waiting': {
      const message = await describeFailure(services, current.found, earlier, signal);
      return { ...common, state: 'waiting', message, wait: current.wait };
    }
    case 'failed': {
      const message = await describeFailure(services, current.found, earlier, signal);
      return { ...common, state: 'failed', message };
    }
  }
}

/** Creates a Job. One that already exists is a success: the same name means the same work. */
async function createJob({ client, log }: PipelineServices, job: Job, signal: AbortSignal): Promise<void> {
  try {
    await client.create(jobs, job, { signal });
    log.info('job created', { namespace: job.metadata.namespace, job: job.metadata.name });
  } catch (error) {
    if (!isApiError(error, 'ALREADY_EXISTS')) throw error;
  }
}

/** Returns why a pod is waiting, unless every pod starts like that. */
function problemOf(pod: PodFacts | undefined): { problem: string | undefined; reason: string | undefined } {
  const { reason = '', message = '' } = pod?.waiting ?? {};
  if (reason === '' || normalWaitReasons.includes(reason)) return { problem: undefined, reason: undefined };
  return { problem: message === '' ? reason : message, reason };
}
