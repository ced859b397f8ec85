import { describe, expect, it } from 'vitest';
import type { JobFacts } from '../../../src/controller/observe/cluster/projections.ts';
import { findJobGarbage } from '../../../src/controller/module/job-garbage.ts';

const created = '2030-01-01T00:00:00Z';
const at = (seconds: number): number => Date.parse(created) + seconds * 1000;

const job: JobFacts = {
  key: { namespace: 'team', name: 'driver-build' },
  uid: '1',
  ownerUid: '2',
  kind: 'build',
  module: undefined,
  image: undefined,
  kernel: '6.1.0',
  hash: undefined,
  secretsVersion: undefined,
  state: 'active',
  reason: undefined,
  message: undefined,
  created,
  ended: undefined,
  suspended: false,
  deleting: false,
};

describe('Jobs that can go', () => {
  it('leave out a new Job of a kernel that runs nowhere: another operator may know its node already', () => {
    const query = { owned: [job], work: [], gcDelay: 0 };
    expect(findJobGarbage({ ...query, now: at(1) })).toEqual({ garbage: [], nextAfter: 59_000 });
    expect(findJobGarbage({ ...query, now: at(60) })).toEqual({ garbage: [job], nextAfter: undefined });
  });

  it('are those of other inputs, at once', () => {
    const work = [{ kernel: { release: '6.1.0', version: '6.1.0' }, jobs: ['another'], settled: false }];
    expect(findJobGarbage({ owned: [job], work, gcDelay: 0, now: at(1) }).garbage).toEqual([job]);
  });

  it.each(['active', 'succeeded', 'failed'] as const)(
    'leave out one that is %s whose result is not persisted, and one of which nothing is known',
    (state) => {
      const kernel = { release: '6.1.0', version: '6.1.0' };
      const owned = [{ ...job, state, ended: created }];
      for (const jobs of [[job.key.name], undefined]) {
        const query = { owned, work: [{ kernel, jobs, settled: false }], gcDelay: 0, now: at(3600) };
        expect(findJobGarbage(query)).toEqual({ garbage: [], nextAfter: undefined });
      }
    },
  );

  it('are those whose result is persisted: after a while where they succeeded, at once where they failed', () => {
    const work = [{ kernel: { release: '6.1.0', version: '6.1.0' }, jobs: [job.key.name], settled: true }];
    const find = (state: JobFacts['state'], now: number) =>
      findJobGarbage({ owned: [{ ...job, state, ended: created }], work, gcDelay: 5000, now });
    expect(find('succeeded', at(4))).toEqual({ garbage: [], nextAfter: 1000 });
    expect(find('succeeded', at(5)).garbage).toHaveLength(1);
    expect(find('failed', at(0)).garbage).toHaveLength(1);
    expect(find('active', at(3600))).toEqual({ garbage: [], nextAfter: undefined });
  });

  it('leave out one that is being deleted already', () => {
    const query = { owned: [{ ...job, deleting: true }], work: [], gcDelay: 0, now: at(3600) };
    expect(findJobGarbage(query)).toEqual({ garbage: [], nextAfter: undefined });
  });

  it('come next when the first of several can go', () => {
    const later = { ...job, uid: '3', created: '2030-01-01T00:00:30Z' };
    const query = { owned: [later, job], work: [], gcDelay: 0 };
    expect(findJobGarbage({ ...query, now: at(1) })).toEqual({ garbage: [], nextAfter: 59_000 });
    expect(findJobGarbage({ ...query, now: at(61) })).toEqual({ garbage: [job], nextAfter: 29_000 });
  });
});
