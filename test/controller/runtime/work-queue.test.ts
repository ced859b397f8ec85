import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { WorkQueue } from '../../../src/controller/runtime/work-queue.ts';

const key = (name: string) => ({ namespace: 'a', name });

function ignore(): void {}

/** Takes without waiting for what is not there. */
async function takeReady(queue: WorkQueue, count: number): Promise<string[]> {
  const names: string[] = [];
  for (let taken = 0; taken < count; taken += 1) names.push((await queue.take())?.name ?? 'stopped');
  return names;
}

describe('the work queue', () => {
  beforeEach(() => vi.useFakeTimers());
  afterEach(() => vi.useRealTimers());

  it('returns keys in the order of their addition, each once', async () => {
    const queue = new WorkQueue();
    for (const name of ['one', 'two', 'one', 'three', 'two']) queue.add(key(name));
    expect(queue.depth).toBe(3);
    expect(await takeReady(queue, 3)).toEqual(['one', 'two', 'three']);
    expect(queue.depth).toBe(0);
  });

  it('distinguishes namespaces', async () => {
    const queue = new WorkQueue();
    queue.add({ namespace: 'a', name: 'x' });
    queue.add({ namespace: 'b', name: 'x' });
    queue.add({ name: 'x' });
    expect([await queue.take(), await queue.take(), await queue.take()]).toEqual([
      { namespace: 'a', name: 'x' },
      { namespace: 'b', name: 'x' },
      { name: 'x' },
    ]);
  });

  it('serves namespaces in turn, however many keys one has', async () => {
    const queue = new WorkQueue();
    for (const name of ['1', '2', '3']) queue.add({ namespace: 'many', name });
    queue.add({ namespace: 'few', name: '4' });
    queue.add({ name: '5' });
    expect(await takeReady(queue, 5)).toEqual(['1', '4', '5', '2', '3']);
  });

  it('limits the active keys of a namespace; others and cluster-scoped ones continue', async () => {
    const queue = new WorkQueue({ maxPerNamespace: 2 });
    for (const name of ['1', '2', '3', '4']) queue.add({ namespace: 'many', name });
    for (const name of ['5', '6', '7']) queue.add({ name });
    queue.add({ namespace: 'few', name: '8' });
    expect(await takeReady(queue, 6)).toEqual(['1', '5', '8', '2', '6', '7']);
    const waiting = takeReady(queue, 1);
    expect(queue.depth).toBe(2);
    queue.done({ namespace: 'few', name: '8' });
    expect(queue.depth).toBe(2);
    queue.done({ namespace: 'many', name: '1' });
    expect(await waiting).toEqual(['3']);
    expect(queue.depth).toBe(1);
  });

  it('never returns a key that is being processed; it returns it again afterwards', async () => {
    const queue = new WorkQueue();
    queue.add(key('one'));
    await queue.take();
    queue.add(key('one'));
    queue.add(key('one'));
    expect(queue.depth).toBe(0);
    queue.done(key('one'));
    expect(await takeReady(queue, 1)).toEqual(['one']);
    queue.done(key('one'));
    expect(queue.depth).toBe(0);
  });

  it('counts a key once if it is added several times while being processed', async () => {
    let added = 0;
    const observer = { added: () => (added += 1), retried: ignore, taken: ignore, worked: ignore };
    const queue = new WorkQueue({ observer });
    queue.add(key('one'));
    await queue.take();
    for (let times = 0; times < 3; times += 1) queue.add(key('one'));
    expect(added).toBe(2);
  });

  it('caps a delay at the longest that a timer allows', async () => {
    const queue = new WorkQueue();
    queue.addAfter(key('one'), 1e12);
    await vi.advanceTimersByTimeAsync(2_147_483_646);
    expect(queue.depth).toBe(0);
    await vi.advanceTimersByTimeAsync(1);
    expect(queue.depth).toBe(1);
  });

  it('doubles the delay with each failure of a key, up to the limit, until it is forgotten', async () => {
    const queue = new WorkQueue({ backoff: { first: 100, limit: 350 } });
    for (const wait of [100, 200, 350, 350]) {
      queue.retry(key('one'));
      await vi.advanceTimersByTimeAsync(wait - 1);
      expect([wait, queue.depth]).toEqual([wait, 0]);
      await vi.advanceTimersByTimeAsync(1);
      expect(await takeReady(queue, 1)).toEqual(['one']);
      queue.done(key('one'));
    }
    queue.forget(key('one'));
    queue.retry(key('one'));
    await vi.advanceTimersByTimeAsync(100);
    expect(queue.depth).toBe(1);
  });

  it('uses the earliest of several delays, and an immediate addition cancels them', async () => {
    const queue = new WorkQueue();
    queue.addAfter(key('one'), 1000);
    queue.addAfter(key('one'), 500);
    queue.addAfter(key('one'), 2000);
    await vi.advanceTimersByTimeAsync(500);
    expect(await takeReady(queue, 1)).toEqual(['one']);
    queue.done(key('one'));
    queue.addAfter(key('one'), 500);
    queue.add(key('one'));
    expect(await takeReady(queue, 1)).toEqual(['one']);
    queue.done(key('one'));
    await vi.advanceTimersByTimeAsync(5000);
    expect(queue.depth).toBe(0);
  });

  it('releases waiting workers when stopped, and leaves no timer', async () => {
    const queue = new WorkQueue();
    const waiting = queue.take();
    queue.addAfter(key('one'), 1000);
    queue.stop();
    expect(await waiting).toBeUndefined();
    expect(await queue.take()).toBeUndefined();
    expect(vi.getTimerCount()).toBe(0);
    queue.add(key('one'));
    expect(queue.depth).toBe(0);
  });
});
