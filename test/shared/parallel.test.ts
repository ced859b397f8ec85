import { setImmediate } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { abortable } from '../../src/shared/abortable.ts';
import { inParallel, mapAhead } from '../../src/shared/parallel.ts';

type Task = (signal: AbortSignal) => Promise<void>;

/** A task that ends only with its signal. */
const endless =
  (ended: string[], name: string): Task =>
  async (signal) => {
    try {
      await abortable(new Promise(() => {}), signal);
    } finally {
      ended.push(name);
    }
  };

const runTask = (task: Task, signal: AbortSignal): Promise<void> => task(signal);

/** Takes so many turns of the event loop. */
async function takeTurns(count: number): Promise<number> {
  for (let turn = 0; turn < count; turn += 1) await setImmediate();
  return count * 10;
}

const fails: Task = () => Promise.reject(new Error('403'));

describe('tasks beside one another', () => {
  it('are all done, so many at a time', async () => {
    let [running, most, done] = [0, 0, 0];
    const task = async (): Promise<void> => {
      most = Math.max(most, ++running);
      await setImmediate();
      running -= 1;
      done += 1;
    };
    await inParallel(
      Array.from({ length: 10 }, () => task),
      3,
    );
    expect([most, done]).toEqual([3, 10]);
  });

  it('are aborted by the first that fails, whose error it is, and no further one is begun', async () => {
    const ended: string[] = [];
    const tasks = [endless(ended, 'a'), endless(ended, 'b'), fails, endless(ended, 'c')];
    await expect(inParallel(tasks, 3)).rejects.toThrow('403');
    // One that was begun for all that would have ended by then.
    await setImmediate();
    expect(ended).toEqual(['a', 'b']);
  });

  it('end with the signal of the caller', async () => {
    const ended: string[] = [];
    const stop = new AbortController();
    const running = inParallel([endless(ended, 'a'), endless(ended, 'b')], 1, stop.signal);
    await setImmediate();
    stop.abort(new Error('enough'));
    await expect(running).rejects.toThrow('enough');
    expect(ended).toEqual(['a']);
    await expect(inParallel([endless(ended, 'c')], 1, stop.signal)).rejects.toThrow('enough');
    await setImmediate();
    expect(ended).toEqual(['a']);
  });
});

describe('items that are worked on ahead of their turn', () => {
  it('are yielded in their order, however long each takes', async () => {
    expect(await Array.fromAsync(mapAhead([9, 1, 5, 0], 3, takeTurns))).toEqual([
      { item: 9, result: 90 },
      { item: 1, result: 10 },
      { item: 5, result: 50 },
      { item: 0, result: 0 },
    ]);
  });

  it('are not begun before their predecessors are used, but for so many', async () => {
    const begun: number[] = [];
    const work = async (item: number): Promise<void> => {
      begun.push(item);
    };
    const counts: number[] = [];
    for await (const _ of mapAhead([1, 2, 3, 4, 5], 2, work)) {
      await setImmediate();
      counts.push(begun.length);
    }
    expect(counts).toEqual([2, 3, 4, 5, 5]);
  });

  it('are aborted when one fails in its turn, and have ended then', async () => {
    const ended: string[] = [];
    const tasks = [async () => {}, fails, endless(ended, 'a'), endless(ended, 'b')];
    const used: Task[] = [];
    const all = async (): Promise<void> => {
      for await (const { item } of mapAhead(tasks, 3, runTask)) used.push(item);
    };
    await expect(all()).rejects.toThrow('403');
    expect([used.length, ended]).toEqual([1, ['a', 'b']]);
  });

  it('are aborted when nobody wants more', async () => {
    const ended: string[] = [];
    const tasks = [async () => {}, endless(ended, 'a'), endless(ended, 'b')];
    for await (const _ of mapAhead(tasks, 2, runTask)) break;
    expect(ended).toEqual(['a']);
  });

  it('end with the signal of the caller', async () => {
    const ended: string[] = [];
    const aborted = AbortSignal.abort(new Error('enough'));
    const all = Array.fromAsync(mapAhead([endless(ended, 'a')], 2, runTask, aborted));
    await expect(all).rejects.toThrow('enough');
    expect(ended).toEqual(['a']);
  });
});
