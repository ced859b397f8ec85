import { describe, expect, test } from 'vitest';
import type { JobFacts } from '../../../src/controller/observe/cluster/projections.ts';
import { standingOf, type TriesStanding } from '../../../src/controller/image-pipeline/job-tries.ts';

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
  return `try-${attempt}`;
}

/** The standing of tries that go as given, `seconds` after the last one ended. */
function standing(tries: readonly JobFacts[], seconds = 0): TriesStanding {
  const find = (name: string): JobFacts | undefined => tries[Number(name.slice('try-'.length))];
  return standingOf(nameOf, find, { backoffLimit: 2, backoff: 10_000, now: ended + seconds * 1000 });
}

describe('The tries of one piece of work', () => {
  test('begin with the first Job', () => {
    expect(standing([])).toEqual({ state: 'missing', attempt: 0, jobs: ['try-0'] });
  });

  test('are followed while a Job runs', () => {
    expect(standing([job('active')])).toMatchObject({ state: 'running', attempt: 0, jobs: ['try-0'] });
  });

  test('count a Job that is being deleted as running, however it ended', () => {
    expect(standing([job('failed', { deleting: true })])).toMatchObject({ state: 'running', attempt: 0 });
  });

  test('end with the first Job that succeeds', () => {
    expect(standing([job('failed'), job('succeeded')])).toMatchObject({
      state: 'succeeded',
      attempt: 1,
      jobs: ['try-0', 'try-1'],
    });
  });

  test('wait before the second, and twice as long before the third', () => {
    expect(standing([job('failed')], 9)).toMatchObject({ state: 'waiting', attempt: 1, wait: 1000 });
    expect(standing([job('failed')], 10)).toMatchObject({ state: 'missing', attempt: 1 });
    expect(standing([job('failed'), job('failed')], 19)).toMatchObject({ state: 'waiting', wait: 1000 });
    expect(standing([job('failed'), job('failed')], 20)).toMatchObject({ state: 'missing', attempt: 2 });
  });

  test('end when the limit is reached', () => {
    expect(standing([job('failed'), job('failed'), job('failed')], 3600)).toMatchObject({
      state: 'failed',
      attempt: 3,
      jobs: ['try-0', 'try-1', 'try-2'],
    });
  });
});
