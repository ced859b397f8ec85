import { describe, expect, it } from 'vitest';
import { readAhead } from '../../../../src/signer/image/read/read-ahead.ts';

/** Readings that end when the test says so, in the order in which they were begun. */
function controlled() {
  const begun: string[] = [];
  const aborted: string[] = [];
  const finish = new Map<string, () => void>();
  const fail = new Map<string, (error: Error) => void>();
  const halfway = new Map<string, () => void>();
  const read = (item: string, { signal, onHalfway }: { signal: AbortSignal; onHalfway: () => void }) => {
    begun.push(item);
    halfway.set(item, onHalfway);
    return new Promise<string>((resolve, reject) => {
      finish.set(item, () => resolve(item.toUpperCase()));
      fail.set(item, reject);
      signal.addEventListener('abort', () => {
        aborted.push(item);
        reject(new Error('aborted'));
      });
    });
  };
  return { begun, aborted, finish, fail, halfway, read };
}

const items = ['a', 'b', 'c', 'd'];
const all = { kind: 'all' } as const;
const isLikelyIrrelevant = (): boolean => false;

describe('readAhead', () => {
  it('reads two at a time when all are needed, and gives them in order', async () => {
    const { begun, finish, read } = controlled();
    const readings = readAhead(items, { read, extent: all });
    const first = readings.next();
    expect(begun).toEqual(['a', 'b']);
    finish.get('b')?.();
    finish.get('a')?.();
    expect((await first).value).toEqual({ item: 'a', result: 'A' });
    const second = readings.next();
    expect((await second).value).toEqual({ item: 'b', result: 'B' });
    void readings.next();
    expect(begun).toEqual(['a', 'b', 'c', 'd']);
  });

  it('begins the next at the half of one only when it seems to be needed', async () => {
    const { begun, finish, halfway, read } = controlled();
    let more = false;
    const readings = readAhead(items, {
      read,
      extent: { kind: 'until-decided', mayNeedMore: () => more, isLikelyIrrelevant },
    });
    const first = readings.next();
    halfway.get('a')?.();
    expect(begun).toEqual(['a']);
    finish.get('a')?.();
    await first;
    const second = readings.next();
    more = true;
    halfway.get('b')?.();
    expect(begun).toEqual(['a', 'b', 'c']);
    halfway.get('c')?.();
    expect(begun).toEqual(['a', 'b', 'c']);
    finish.get('b')?.();
    expect((await second).value).toEqual({ item: 'b', result: 'B' });
  });

  it('begins the next beside one that promises nothing, but not beside the very first', async () => {
    const { begun, finish, read } = controlled();
    const readings = readAhead(['A', 'B', 'C', 'd', 'E'], {
      read,
      extent: {
        kind: 'until-decided',
        mayNeedMore: () => true,
        isLikelyIrrelevant: (item) => item === item.toUpperCase(),
      },
    });
    const first = readings.next();
    expect(begun).toEqual(['A']);
    finish.get('A')?.();
    await first;
    expect(begun).toEqual(['A', 'B', 'C']);
    finish.get('B')?.();
    await readings.next();
    expect(begun).toEqual(['A', 'B', 'C', 'd']);
    finish.get('C')?.();
    await readings.next();
    expect(begun).toEqual(['A', 'B', 'C', 'd']);
    finish.get('d')?.();
    await readings.next();
    expect(begun).toEqual(['A', 'B', 'C', 'd', 'E']);
  });

  it('aborts what is under way when the consumer has enough', async () => {
    const { aborted, finish, read } = controlled();
    const readings = readAhead(items, { read, extent: all });
    const first = readings.next();
    finish.get('a')?.();
    await first;
    await readings.return(undefined);
    expect(aborted).toContain('b');
  });

  it('fails as a reading failed, in its turn, and aborts the others', async () => {
    const { aborted, finish, fail, read } = controlled();
    const readings = readAhead(items, { read, extent: all });
    const first = readings.next();
    fail.get('b')?.(new Error('damaged'));
    finish.get('a')?.();
    expect((await first).value).toEqual({ item: 'a', result: 'A' });
    await expect(readings.next()).rejects.toThrow('damaged');
    expect(aborted).toContain('c');
  });

  it('passes an abort from outside on', async () => {
    const { read } = controlled();
    const outside = new AbortController();
    const readings = readAhead(items, {
      read,
      extent: { kind: 'until-decided', mayNeedMore: () => false, isLikelyIrrelevant },
      signal: outside.signal,
    });
    const first = readings.next();
    outside.abort();
    await expect(first).rejects.toThrow('aborted');
  });
});
