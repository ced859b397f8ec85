import { describe, expect, test } from 'vitest';
import type { JobFacts } from '../../../src/controller/observe/cluster/projections.ts';
import { findCurrentAttempt, type JobAttempts } from '../../../src/controller/image-pipeline/job-attempts.ts';

const ended = Date.parse('2026-05-01T12:00:00Z');

function job(state: JobFacts['state'], changes: Partial<JobFacts> = {}): JobFacts {
  return {
    key: { namespace: 'default', name: 'job' },
    uid: 'uid',
    ownerUid: undefined,
    kind: 'build',
    module: undefined,
    image: undefined,
    kernel: undefined,
    hash: undefined,
    secretsVersion: undefined,
    state,
    suspended: false,
    reason: undefined,
    message: undefined,
    created: undefined,
    ended: state === 'active' ? undefined : new Date(ended).toISOString(),
    deleting: false,
    ...changes,
  };
}

function nameOf(attempt: number): string {
  return `attempt-${attempt}`;
}

/** Returns the current attempt `seconds` after the last Job ended. */
function attempts(jobs: readonly JobFacts[], seconds = 0): JobAttempts {
  const find = (name: string): JobFacts | undefined => jobs[Number(name.slice('attempt-'.length))];
  return findCurrentAttempt(nameOf, find, { backoffLimit: 2, backoff: 10_000, now: ended + seconds * 1000 });
}

describe('The attempts of one piece of work', () => {
  test('begin with the first Job', () => {
    expect(attempts([])).toEqual({ state: 'missing', attempt: 0, jobs: ['attempt-0'] });
  });

  test('are followed while a Job runs', () => {
    expect(attempts([job('active')])).toMatchObject({ state: 'running', attempt: 0, jobs: ['attempt-0'] });
  });

  test('count a Job that is being deleted as running, however it ended', () => {
    expect(attempts([job('failed', { deleting: true })])).toMatchObject({ state: 'running', attempt: 0 });
  });

  test('end with the first Job that succeeds', () => {
    expect(attempts([job('failed'), job('succeeded')])).toMatchObject({
      state: 'succeeded',
      attempt: 1,
      jobs: ['attempt-0', 'attempt-1'],
    });
  });

  test('wait before the second, and twice as long before the third', () => {
    expect(attempts([job('failed')], 9)).toMatchObject({ state: 'waiting', attempt: 1, wait: 1000 });
    expect(attempts([job('failed')], 10)).toMatchObject({ state: 'missing', attempt: 1 });
    expect(attempts([job('failed'), job('failed')], 19)).toMatchObject({ state: 'waiting', wait: 1000 });
    expect(attempts([job('failed'), job('failed')], 20)).toMatchObject({ state: 'missing', attempt: 2 });
  });

  test('end when the limit is reached', () => {
    expect(attempts([job('failed'), job('failed'), job('failed')], 3600)).toMatchObject({
      state: 'failed',
      attempt: 3,
      jobs: ['attempt-0', 'attempt-1', 'attempt-2'],
    });
  });
});
