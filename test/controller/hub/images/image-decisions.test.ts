import { describe, expect, it } from 'vitest';
import type { HubImageStatus } from '../../../../src/api/managed-cluster-module.ts';
import {
  decideCollection,
  decideImage,
  isPersistedIn,
  type ImageLook,
} from '../../../../src/controller/hub/images/image-decisions.ts';
import type { ImageState } from '../../../../src/controller/image-pipeline/request.ts';
import type { JobFacts } from '../../../../src/controller/observe/cluster/projections.ts';
import { digest } from '../example-module.ts';

describe('what is done about an image', () => {
  it.each([
    ['advances one that is wanted', { isWanted: true, isComplete: true, mayBegin: true }, 'advance'],
    ['begins nothing before all were heard', { isWanted: true, isComplete: false, mayBegin: false }, 'wait'],
    [
      'goes on while a new one has not been heard',
      { isWanted: true, isComplete: false, mayBegin: true },
      'advance',
    ],
    ['clears up what nobody wants', { isWanted: false, isComplete: true, mayBegin: true }, 'collect'],
    ['leaves what somebody may want', { isWanted: false, isComplete: false, mayBegin: true }, 'leave'],
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
  state: 'succeeded',
  suspended: false,
  reason: undefined,
  message: undefined,
  created: '2026-01-01T00:00:00Z',
  ended: '2026-01-01T00:01:00Z',
  deleting: false,
};

function look(
  garbage: readonly JobFacts[],
  more: { state?: ImageState; nextAfter?: number } = {},
): ImageLook {
  const { state = ready, nextAfter } = more;
  return { result: { state, jobs: [], error: undefined }, garbage: { garbage, nextAfter } };
}

describe('what is done about the Jobs of an image', () => {
  it('keeps them while none can go, and comes again when the next one can', () => {
    const first = look([], { nextAfter: 5000 });
    expect(decideCollection({ first, isPersisted: true })).toEqual({
      type: 'keep',
      garbage: [],
      requeueAfter: 5000,
    });
  });

  it('keeps them while a status does not say what they did', () => {
    expect(decideCollection({ first: look([job]), isPersisted: false })).toMatchObject({ type: 'keep' });
    const closer = look([job]);
    expect(decideCollection({ first: look([job]), isPersisted: false, closer })).toMatchObject({
      type: 'keep',
    });
  });

  it('looks closely before it deletes any', () => {
    expect(decideCollection({ first: look([job]), isPersisted: true })).toMatchObject({
      type: 'look-closely',
      garbage: [],
    });
  });

  it('deletes what a close look finds unneeded', () => {
    const closer = look([job], { nextAfter: 7000 });
    expect(decideCollection({ first: look([job]), isPersisted: true, closer })).toEqual({
      type: 'delete',
      garbage: [job],
      requeueAfter: 7000,
    });
    expect(decideCollection({ first: look([job]), isPersisted: true, closer: look([]) })).toMatchObject({
      garbage: [],
    });
  });

  it('does not mind when the next look at the image is due', () => {
    const closer = look([job], { state: { ...ready, requeueAfter: 1 } });
    expect(decideCollection({ first: look([job]), isPersisted: true, closer }).type).toBe('delete');
  });

  it.each([
    ['another state', look([job], { state: { ...ready, phase: 'Building', digest: undefined } })],
    ['another digest', look([job], { state: { ...ready, digest: digest('b') } })],
    ['other Jobs', { ...look([job]), result: { state: ready, jobs: ['job-2'], error: undefined } }],
  ])('deletes none where a close look finds %s', (_title, closer) => {
    expect(decideCollection({ first: look([job]), isPersisted: true, closer })).toMatchObject({
      type: 'keep',
      garbage: [],
    });
  });
});

describe('what was found out about an image', () => {
  const status: HubImageStatus = {
    image: 'registry.example/driver:1',
    kernelVersion: '6.1.0',
    phase: 'Ready',
    digest: digest('a'),
    inputs: 'i',
  };

  it('is persisted when every status says it', () => {
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
