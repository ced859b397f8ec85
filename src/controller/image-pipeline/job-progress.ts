import type { V1Job } from '@kubernetes/client-node';
import type { JobFacts, PodFacts } from '../cluster/projections.ts';
import { fromLibrary } from '../cluster/from-library.ts';
import { jobs, pods, type Job } from '../cluster/resources.ts';
import { isApiError } from '../runtime/errors.ts';
import { formatKey, type ObjectKey } from '../runtime/object-key.ts';
import { pathOf } from '../runtime/resource.ts';
import type { EarlierState } from './image-state.ts';
import { linesOfFailure } from './log-lines.ts';
import type { PipelineServices } from './services.ts';

/** How the tries of one piece of work stand. */
export type JobProgress = {
  /** The Job that counts, and how many failed. */
  readonly job: string;
  readonly attempts: number;
  /** All Jobs of this work, from the first try on. */
  readonly jobs: readonly string[];
} & (
  | { readonly state: 'running'; readonly problem: string | undefined; readonly reason: string | undefined }
  /** Was not admitted yet. */
  | { readonly state: 'queued' }
  | { readonly state: 'succeeded'; readonly ended: number; readonly key: ObjectKey; readonly uid: string }
  /** Waits before the next try. */
  | { readonly state: 'waiting'; readonly message: string; readonly wait: number }
  | { readonly state: 'failed'; readonly message: string }
);

export interface JobWork {
  readonly namespace: string;
  /** The Job of one try. Different tries have different names. */
  readonly jobOf: (attempt: number) => V1Job;
  /** What was persisted: a failure that was described already is not looked into again. */
  readonly earlier: EarlierState | undefined;
  /** Called before a Job is made; throws when it is not to be. */
  readonly confirm: (() => Promise<void>) | undefined;
  readonly signal: AbortSignal;
}

/** What is to be said of a Job that does not run yet, though nothing is wrong with it. */
const suspension = { reason: 'JobSuspended', problem: 'it is suspended' };

/** Reasons to wait that every pod has for a moment. */
const usualWaits = ['ContainerCreating', 'PodInitializing'];

/**
 * Sees to it that work is done: looks for the Job of each try in turn, and makes the first that is not there.
 * Which try it is stands in the cluster, not in memory: whoever comes after a crash goes on where it stopped.
 */
export async function progressJob(services: PipelineServices, work: JobWork): Promise<JobProgress> {
  const { caches, settings, now = Date.now, admit = (job: Job) => job } = services;
  const names: string[] = [];
  let failed: JobFacts | undefined;
  for (let attempt = 0; attempt <= settings.backoffLimit; attempt++) {
    const job = work.jobOf(attempt);
    const name = job.metadata?.name ?? '';
    const known = caches.jobs.get({ namespace: work.namespace, name });
    if (known === undefined && failed !== undefined) {
      const wait = pauseBefore(attempt, failed, settings.backoff) - now();
      if (wait > 0) {
        const message = await describeFailure(services, failed, work);
        return { state: 'waiting', job: failed.key.name, attempts: attempt, jobs: names, message, wait };
      }
    }
    names.push(name);
    if (known === undefined) {
      const admitted = admit(fromLibrary(job));
      if (admitted === undefined) return { state: 'queued', job: name, attempts: attempt, jobs: names };
      await work.confirm?.();
      await createJob(services, admitted, work.signal);
    }
    if (known === undefined || known.deleting || known.state === 'active') {
      const pod = podOf(services, { namespace: work.namespace, name });
      return {
        state: 'running',
        job: name,
        attempts: attempt,
        jobs: names,
        ...(known?.suspended === true ? suspension : troubleOf(pod)),
      };
    }
    if (known.state === 'succeeded') {
      const ended = Date.parse(known.ended ?? '');
      const { key, uid } = known;
      return { state: 'succeeded', job: name, attempts: attempt, jobs: names, ended, key, uid };
    }
    failed = known;
  }
  return {
    state: 'failed',
    job: failed?.key.name ?? '',
    attempts: names.length,
    jobs: names,
    message: failed === undefined ? '' : await describeFailure(services, failed, work),
  };
}

function pauseBefore(attempt: number, { ended }: JobFacts, backoff: number): number {
  return Date.parse(ended ?? '') + backoff * 2 ** (attempt - 1);
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

function podOf({ caches }: PipelineServices, key: ObjectKey): PodFacts | undefined {
  return caches.pods.byIndex('owner', formatKey(key)).find(({ deleting }) => !deleting);
}

/** Why a pod waits, unless that is how every pod starts. */
function troubleOf(pod: PodFacts | undefined): { problem: string | undefined; reason: string | undefined } {
  const { reason = '', message = '' } = pod?.waiting ?? {};
  if (reason === '' || usualWaits.includes(reason)) return { problem: undefined, reason: undefined };
  return { problem: message === '' ? reason : message, reason };
}

/** Why a Job failed: what its pod said last, else what the Job says. */
async function describeFailure(
  services: PipelineServices,
  job: JobFacts,
  { earlier, signal }: JobWork,
): Promise<string> {
  if (earlier?.phase === 'Failed' && earlier.job === job.key.name && earlier.message !== undefined) {
    return earlier.message;
  }
  const pod = podOf(services, job.key);
  if (job.reason === 'DeadlineExceeded') {
    const waited = pod?.waiting === undefined ? '' : `; its pod waited: ${sentence(pod.waiting)}`;
    return `Job ${job.key.name} took longer than it may${waited}`;
  }
  if (pod === undefined) return `Job ${job.key.name} failed: ${job.message ?? 'its pod is gone'}`;
  const exit = pod.terminated;
  const lines = linesOfFailure((await readLog(services, pod, signal)) ?? exit?.message ?? '');
  const ending = exit === undefined ? (job.message ?? '') : endOf(exit);
  return `Job ${job.key.name} failed (${ending})${lines === '' ? '' : `: ${lines}`}`;
}

function endOf({ exitCode, reason }: NonNullable<PodFacts['terminated']>): string {
  return reason === '' || reason === 'Error' ? `exit code ${exitCode}` : `${reason}, exit code ${exitCode}`;
}

function sentence({ reason, message }: { readonly reason: string; readonly message: string }): string {
  return message === '' ? reason : `${reason}: ${message}`;
}

/** The end of a pod's log, if it can still be had. */
async function readLog(
  { client, log }: PipelineServices,
  { key }: PodFacts,
  signal: AbortSignal,
): Promise<string | undefined> {
  try {
    return await client.requestText({
      method: 'GET',
      path: pathOf(pods, { ...key, subresource: 'log' }),
      query: { tailLines: 100, limitBytes: 64 * 1024 },
      // The API server offers no type of its own for what a container says.
      accept: '*/*',
      signal,
    });
  } catch (error) {
    log.warn('log could not be read', { namespace: key.namespace, pod: key.name, error });
    return undefined;
  }
}
