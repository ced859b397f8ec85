import { describe, expect, it } from 'vitest';
import type { JobFacts } from '../../../src/controller/cluster/projections.ts';
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

  it('leave out those of work that is under way, and of which nothing is known', () => {
    const kernel = { release: '6.1.0', version: '6.1.0' };
    for (const jobs of [[job.key.name], undefined]) {
      const work = [{ kernel, jobs, settled: false }];
      expect(findJobGarbage({ owned: [job], work, gcDelay: 0, now: at(3600) }).garbage).toEqual([]);
    }
  });
});
