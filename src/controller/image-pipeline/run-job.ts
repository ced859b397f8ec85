import { labelKeys } from '../../builder/labels.ts';
import { isDigest } from '../../registry/model/digest.ts';
import { fromLibrary, jobs, type Job } from '../observe/cluster/resources.ts';
import type { JobFacts, PodFacts } from '../observe/cluster/projections.ts';
import { isApiError } from '../runtime/api/errors.ts';
import { describeFailure, podOf } from './job-failure.ts';
import type { JobForAttempt } from './job-manifests.ts';
import { nameSecrets, secretsVersionOf } from './job-secrets.ts';
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
 * @throws ApiError, PipelineError SECRET_MISSING, and errors of the request's `confirm`
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
  const manifest = jobForAttempt(0);
  const find = (name: string) => caches.jobs.get({ namespace, name });
  const current = findCurrentAttempt(nameOf, find, { ...settings, now: now() });
  const { attempt: attempts, jobs: names } = current;
  const common = { job: names.at(-1) ?? '', attempts, jobs: names };
  const describe = async (job: JobFacts): Promise<string> =>
    nameSecrets(await describeFailure(services, job, earlier, signal), manifest);
  switch (current.state) {
    case 'missing': {
      const admitted = admit(fromLibrary(jobForAttempt(attempts)));
      if (admitted === undefined) return { ...common, state: 'queued' };
      // Read in any case: whoever waits for a Secret is told of it only after a cached read.
      const secretsVersion = await secretsVersionOf(services, request, manifest);
      if (!mayCreate) return undefined;
      await confirm?.();
      await createJob(services, withSecretsVersion(admitted, secretsVersion), signal);
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
      const message = await describe(current.found);
      return { ...common, state: 'waiting', message, wait: current.wait };
    }
    case 'failed': {
      const { secretsVersion } = current.found;
      const isOutdated =
        secretsVersion !== undefined &&
        secretsVersion !== (await secretsVersionOf(services, request, manifest));
      // Caches may lag behind: the Job may have used the Secrets of now.
      if (isOutdated && !mayCreate) return undefined;
      const outdated = isOutdated ? names.flatMap((name) => find(name) ?? []).toReversed() : [];
      return { ...common, state: 'failed', message: await describe(current.found), outdated };
    }
  }
}

function withSecretsVersion(job: Job, version: string): Job {
  const annotations = { ...job.metadata.annotations, [labelKeys.secretsVersion]: version };
  return { ...job, metadata: { ...job.metadata, annotations } };
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
