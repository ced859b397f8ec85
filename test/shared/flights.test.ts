import { describe, expect, it, vi } from 'vitest';
import { FreshReads } from '../../src/shared/flights.ts';

/** Reads that end when the test says so, with the number of the read. */
function controlled(gathering = 0) {
  const ends: PromiseWithResolvers<void>[] = [];
  const reads = new FreshReads(async () => {
    const end = Promise.withResolvers<void>();
    const number = ends.push(end);
    await end.promise;
    return number;
  }, gathering);
  return { ends, reads };
}

describe('fresh reads', () => {
  it('give callers what was read after they had asked, and share it', async () => {
    const { ends, reads } = controlled();
    const first = reads.read('a');
    const others = [reads.read('a'), reads.read('a')];
    expect(ends).toHaveLength(1);
    ends[0]?.resolve();
    expect(await first).toBe(1);
    expect(ends).toHaveLength(2);
    ends[1]?.resolve();
    expect(await Promise.all(others)).toEqual([2, 2]);
  });

  it('wait for others that ask, if told to, and are shared by all that asked before they began', async () => {
    const { ends, reads } = controlled(1);
    const early = [reads.read('a'), reads.read('a'), reads.read('a')];
    expect(ends).toHaveLength(0);
    await vi.waitFor(() => expect(ends).toHaveLength(1));
    const late = [reads.read('a'), reads.read('a')];
    ends[0]?.resolve();
    expect(await Promise.all(early)).toEqual([1, 1, 1]);
    await vi.waitFor(() => expect(ends).toHaveLength(2));
    ends[1]?.resolve();
    expect(await Promise.all(late)).toEqual([2, 2]);
  });

  it('begin anew once nobody is waiting', async () => {
    const { ends, reads } = controlled();
    const first = reads.read('a');
    ends[0]?.resolve();
    await first;
    const second = reads.read('a');
    ends[1]?.resolve();
    expect(await second).toBe(2);
  });

  it('go on after one that failed', async () => {
    const { ends, reads } = controlled();
    const first = reads.read('a');
    const next = reads.read('a');
    ends[0]?.reject(new Error('unreachable'));
    await expect(first).rejects.toThrow('unreachable');
    ends[1]?.resolve();
    expect(await next).toBe(2);
  });

  it('are separate for each key', () => {
    const { ends, reads } = controlled();
    void reads.read('a');
    void reads.read('b');
    expect(ends).toHaveLength(2);
  });
});
