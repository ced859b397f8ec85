import { describe, expect, it } from 'vitest';
import type { JobFacts } from '../../../../src/controller/observe/cluster/projections.ts';
import { JobSlots } from '../../../../src/controller/hub/images/job-slots.ts';

/** Creates slots for Jobs that the cache sees at once. */
function hub(limit: number) {
  const jobs: JobFacts[] = [];
  const woken: string[] = [];
  const clock = { time: 0 };
  const now = (): number => clock.time;
  const slots = new JobSlots({ limit, jobs: () => jobs, wake: (image) => woken.push(image), now });
  return {
    clock,
    slots,
    jobs,
    woken,
    take: (image: string, module = 'driver'): boolean => {
      const isGranted = slots.acquire({ image, module, job: image });
      if (isGranted) jobs.push(job(image, module));
      return isGranted;
    },
    end: (image: string): void => {
      jobs.splice(
        jobs.findIndex(({ key }) => key.name === image),
        1,
      );
      slots.wakeNext();
    },
  };
}

function job(name: string, module: string): JobFacts {
  const facts = {
    kind: 'build',
    kernel: '6.1.0',
    state: 'active',
    suspended: false,
    deleting: false,
  } as const;
  const unknown = {
    hash: undefined,
    secretsVersion: undefined,
    reason: undefined,
    message: undefined,
    created: undefined,
    ended: undefined,
  };
  return {
    ...facts,
    ...unknown,
    key: { namespace: 'hub', name },
    uid: name,
    ownerUid: undefined,
    image: name,
    module,
  };
}

describe('the slots of a hub’s Jobs', () => {
  it('are limited, and the next image is woken when one is free', () => {
    const { take, end, woken, slots } = hub(2);
    expect([take('a'), take('b'), take('c')]).toEqual([true, true, false]);
    expect(woken).toEqual([]);
    end('a');
    expect(woken).toEqual(['c']);
    expect(take('c')).toBe(true);
    expect(slots.waiting).toBe(0);
  });

  it('wake the next image once, however many Jobs end until it asks', () => {
    const { take, end, woken } = hub(3);
    expect([take('a'), take('b'), take('c'), take('d'), take('e')]).toEqual([true, true, true, false, false]);
    end('a');
    end('b');
    end('c');
    expect(woken).toEqual(['d']);
    expect(take('d')).toBe(true);
    expect(woken).toEqual(['d', 'e']);
    expect(take('e')).toBe(true);
  });

  it('wake an image again that has asked in vain', () => {
    const { take, end, woken } = hub(1);
    expect([take('a'), take('b')]).toEqual([true, false]);
    end('a');
    expect(woken).toEqual(['b']);
    // Another one, of a module that has had no Job yet, asks before it does.
    expect([take('c', 'other'), take('b')]).toEqual([true, false]);
    end('c');
    expect(woken).toEqual(['b', 'b']);
    expect(take('b')).toBe(true);
  });

  it('go to the module with the fewest Jobs, not to the one that came first', () => {
    const { take, end, woken } = hub(2);
    expect([take('a1', 'a'), take('a2', 'a'), take('a3', 'a'), take('a4', 'a'), take('b1', 'b')]).toEqual([
      true,
      true,
      false,
      false,
      false,
    ]);
    end('a1');
    expect(woken).toEqual(['b1']);
    expect(take('a3', 'a')).toBe(false);
    expect(take('b1', 'b')).toBe(true);
  });

  it('go, of modules with equally many Jobs, to the one that has waited longest since its last one', () => {
    const { take, end } = hub(1);
    expect([take('a1', 'a'), take('a2', 'a'), take('b1', 'b'), take('c1', 'c')]).toEqual([
      true,
      false,
      false,
      false,
    ]);
    end('a1');
    // b and c had none yet, and b came first.
    expect([take('a2', 'a'), take('c1', 'c'), take('b1', 'b')]).toEqual([false, false, true]);
    expect(take('b2', 'b')).toBe(false);
    end('b1');
    expect([take('a2', 'a'), take('b2', 'b'), take('c1', 'c')]).toEqual([false, false, true]);
    expect(take('b2', 'b')).toBe(false);
    end('c1');
    // a had its last one before b.
    expect([take('b2', 'b'), take('a2', 'a')]).toEqual([false, true]);
    expect(take('a3', 'a')).toBe(false);
    end('a2');
    // Now a was served after b.
    expect([take('a3', 'a'), take('b2', 'b')]).toEqual([false, true]);
  });

  it('are not reserved for an image that has left the queue', () => {
    const { take, end, woken, slots } = hub(1);
    expect([take('a'), take('b'), take('c')]).toEqual([true, false, false]);
    end('a');
    slots.leave('b');
    expect(woken).toEqual(['b', 'c']);
    expect(take('c')).toBe(true);
  });

  it('are not taken by Jobs that are suspended', () => {
    const { take, jobs } = hub(1);
    expect(take('a')).toBe(true);
    expect(take('b')).toBe(false);
    jobs.splice(0, 1, { ...job('a', 'driver'), suspended: true });
    expect(take('b')).toBe(true);
  });

  it('are not taken by Jobs that have ended or are being deleted', () => {
    for (const how of [{ state: 'succeeded' }, { state: 'failed' }, { deleting: true }] as const) {
      const { take, jobs } = hub(1);
      expect([take('a'), take('b')]).toEqual([true, false]);
      jobs.splice(0, 1, { ...job('a', 'driver'), ...how });
      expect(take('b')).toBe(true);
    }
  });

  it('stay for a minute with a Job that the cache never sees, and are free after that', () => {
    const { slots, clock } = hub(1);
    const other = { image: 'b', module: 'driver', job: 'job-b' };
    expect(slots.acquire({ image: 'a', module: 'driver', job: 'job-a' })).toBe(true);
    clock.time = 60_000;
    expect(slots.acquire(other)).toBe(false);
    clock.time = 60_001;
    expect(slots.acquire(other)).toBe(true);
  });

  it('stay with a Job that the cache has not seen yet, until its creation failed', () => {
    const { slots, woken } = hub(1);
    const request = { image: 'a', module: 'driver', job: 'job-a' };
    expect(slots.acquire(request)).toBe(true);
    expect(slots.acquire(request)).toBe(true);
    expect(slots.acquire({ image: 'b', module: 'driver', job: 'job-b' })).toBe(false);
    slots.release('job-a');
    expect(woken).toEqual(['b']);
    expect(slots.acquire({ image: 'b', module: 'driver', job: 'job-b' })).toBe(true);
  });
});
