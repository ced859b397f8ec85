import { describe, expect, it } from 'vitest';
import type { HubImageStatus } from '../../../../src/api/managed-cluster-module.ts';
import {
  decideCollection,
  decideImage,
  isJobNews,
  isPersistedIn,
  mayCollect,
  type ImageCheck,
} from '../../../../src/controller/hub/images/image-decisions.ts';
import type { ImageState } from '../../../../src/controller/image-pipeline/request.ts';
import type { JobFacts } from '../../../../src/controller/observe/cluster/projections.ts';
import { digest } from '../example-module.ts';

describe('what is done about an image', () => {
  it.each([
    ['advances one that is used', { isUsed: true, isComplete: true, mayStart: true }, 'advance'],
    [
      'starts nothing before all have registered',
      { isUsed: true, isComplete: false, mayStart: false },
      'wait',
    ],
    [
      'continues while a new one has not registered',
      { isUsed: true, isComplete: false, mayStart: true },
      'advance',
    ],
    ['collects what nothing uses', { isUsed: false, isComplete: true, mayStart: true }, 'collect'],
    ['keeps what something may use', { isUsed: false, isComplete: false, mayStart: true }, 'keep'],
  ] as const)('%s', (_title, situation, action) => {
    expect(decideImage(situation)).toBe(action);
  });
});

const ready: ImageState = {
  phase: 'Ready',
  reason: 'Signed',
  message: 'signed',
  digest: digest('a'),
  inputs: 'i',
};

const job: JobFacts = {
  key: { namespace: 'hub', name: 'job-1' },
  uid: 'job-1',
  ownerUid: undefined,
  kind: 'build',
  module: 'driver',
  image: 'image',
  kernel: '6.1.0',
  hash: 'hash',
  secretsVersion: undefined,
  state: 'succeeded',
  suspended: false,
  reason: undefined,
  message: undefined,
  created: '2026-01-01T00:00:00Z',
  ended: '2026-01-01T00:01:00Z',
  deleting: false,
};

describe('a change of a Job', () => {
  const added = { type: 'added', key: job.key, object: { ...job, state: 'active' } } as const;
  const deleted = { type: 'deleted', key: job.key, previous: job } as const;
  const building = { ...ready, phase: 'Building', job: job.key.name } as const;
  const unknown = { latest: undefined, creating: undefined };

  it('is news unless this hub has created the Job, or is about to know that it has', () => {
    expect(isJobNews(added, unknown)).toBe(true);
    expect(isJobNews(added, { latest: building, creating: undefined })).toBe(false);
    expect(isJobNews(added, { latest: undefined, creating: job.key.name })).toBe(false);
    expect(isJobNews(added, { latest: { ...building, job: 'job-0' }, creating: 'job-2' })).toBe(true);
  });

  it('is news if the Job has ended, waits for Kueue, or is being deleted', () => {
    const known = { latest: building, creating: undefined };
    for (const facts of [{ state: 'succeeded' }, { suspended: true }, { deleting: true }] as const) {
      expect(isJobNews({ ...added, object: { ...added.object, ...facts } }, known)).toBe(true);
    }
    expect(isJobNews({ ...added, type: 'updated', previous: added.object }, known)).toBe(true);
  });

  it('is news if it has gone before its image is ready', () => {
    expect(isJobNews(deleted, { latest: ready, creating: undefined })).toBe(false);
    expect(isJobNews(deleted, { latest: building, creating: undefined })).toBe(true);
    expect(isJobNews(deleted, unknown)).toBe(true);
  });
});

it('an entry in a status allows Jobs to be deleted that have ended, and others than the one it names', () => {
  const running = { ...job, state: 'active' } as const;
  expect(mayCollect({ job: job.key.name }, [])).toBe(false);
  expect(mayCollect({ job: job.key.name }, [running])).toBe(false);
  expect(mayCollect({ job: job.key.name }, [job])).toBe(true);
  expect(mayCollect({ job: 'job-2' }, [running])).toBe(true);
  expect(mayCollect({}, [running])).toBe(true);
});

function check(
  garbage: readonly JobFacts[],
  more: { state?: ImageState; nextAfter?: number } = {},
): ImageCheck {
  const { state = ready, nextAfter } = more;
  return { result: { state, jobs: [], error: undefined }, garbage: { garbage, nextAfter } };
}

describe('what is done about the Jobs of an image', () => {
  it('keeps them while none can be deleted, and requeues for when the next one can', () => {
    const cached = check([], { nextAfter: 5000 });
    expect(decideCollection({ cached, isPersisted: true })).toEqual({
      type: 'keep',
      garbage: [],
      requeueAfter: 5000,
    });
  });

  it('keeps them while a status lacks their result', () => {
    expect(decideCollection({ cached: check([job]), isPersisted: false })).toMatchObject({ type: 'keep' });
    const uncached = check([job]);
    expect(decideCollection({ cached: check([job]), isPersisted: false, uncached })).toMatchObject({
      type: 'keep',
    });
  });

  it('bypasses the caches before it deletes any', () => {
    expect(decideCollection({ cached: check([job]), isPersisted: true })).toMatchObject({
      type: 'check-uncached',
      garbage: [],
    });
  });

  it('deletes what an uncached check does not need', () => {
    const uncached = check([job], { nextAfter: 7000 });
    expect(decideCollection({ cached: check([job]), isPersisted: true, uncached })).toEqual({
      type: 'delete',
      garbage: [job],
      requeueAfter: 7000,
    });
    expect(decideCollection({ cached: check([job]), isPersisted: true, uncached: check([]) })).toMatchObject({
      garbage: [],
    });
  });

  it('ignores when the next check of the image is due', () => {
    const uncached = check([job], { state: { ...ready, requeueAfter: 1 } });
    expect(decideCollection({ cached: check([job]), isPersisted: true, uncached }).type).toBe('delete');
  });

  it.each([
    ['another state', check([job], { state: { ...ready, phase: 'Building', digest: undefined } })],
    ['another digest', check([job], { state: { ...ready, digest: digest('b') } })],
    ['other Jobs', { ...check([job]), result: { state: ready, jobs: ['job-2'], error: undefined } }],
  ])('deletes none where an uncached check finds %s', (_title, uncached) => {
    expect(decideCollection({ cached: check([job]), isPersisted: true, uncached })).toMatchObject({
      type: 'keep',
      garbage: [],
    });
  });
});

describe('the result of checking an image', () => {
  const status: HubImageStatus = {
    image: 'registry.example/driver:1',
    kernelVersion: '6.1.0',
    phase: 'Ready',
    digest: digest('a'),
    inputs: 'i',
  };

  it('is persisted when every status has it', () => {
    expect(isPersistedIn([status, status], ready, 2)).toBe(true);
  });

  it.each([
    ['a status is missing', [status]],
    ['a status has another phase', [status, { ...status, phase: 'Building' as const }]],
    ['a status has another digest', [status, { ...status, digest: digest('b') }]],
    ['a status has other inputs', [status, { ...status, inputs: 'j' }]],
  ])('is not persisted while %s', (_title, statuses) => {
    expect(isPersistedIn(statuses, ready, 2)).toBe(false);
  });
});
