import { setImmediate } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { abortable } from '../../src/shared/abortable.ts';
import { inParallel } from '../../src/shared/parallel.ts';

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
