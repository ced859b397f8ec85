import { describe, expect, it } from 'vitest';
import { Throttle, type Clock } from '../../../src/controller/runtime/api/throttle.ts';

/** A clock that moves only when somebody waits: to the earliest end of a wait. */
class ManualClock implements Clock {
  #now = 0;
  readonly #sleepers: { readonly at: number; readonly wake: () => void }[] = [];

  now(): number {
    return this.#now;
  }

  sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#sleepers.push({ at: this.#now + milliseconds, wake: resolve });
      signal?.addEventListener('abort', () => reject(signal.reason as Error));
    });
  }

  /** Moves to a time, and wakes on the way whom it is due to wake. */
  async moveTo(time: number): Promise<void> {
    for (;;) {
      await new Promise((resolve) => setImmediate(resolve));
      this.#sleepers.sort((one, other) => one.at - other.at);
      const next = this.#sleepers[0];
      if (next === undefined || next.at > time) break;
      this.#sleepers.shift();
      this.#now = next.at;
      next.wake();
    }
    this.#now = time;
  }
}

/** Asks for turns, and notes when each came. */
function ask(throttle: Throttle, clock: Clock, count: number, turns: string[] = []): string[] {
  const from = turns.length;
  for (let index = from; index < from + count; index += 1) {
    void throttle.take(undefined).then(() => turns.push(`${index}@${clock.now()}`));
  }
  return turns;
}

describe('a throttle', () => {
  it('allows a burst, then the average rate, in order', async () => {
    const clock = new ManualClock();
    const turns = ask(new Throttle({ perSecond: 10, burst: 3 }, clock), clock, 6);
    await clock.moveTo(250);
    expect(turns).toEqual(['0@0', '1@0', '2@0', '3@100', '4@200']);
    await clock.moveTo(300);
    expect(turns.at(-1)).toBe('5@300');
  });

  it('allows a burst again after idleness, and no larger one', async () => {
    const clock = new ManualClock();
    const throttle = new Throttle({ perSecond: 10, burst: 3 }, clock);
    const turns = ask(throttle, clock, 3);
    await clock.moveTo(60_000);
    ask(throttle, clock, 4, turns);
    await clock.moveTo(60_100);
    expect(turns.slice(3)).toEqual(['3@60000', '4@60000', '5@60000', '6@60100']);
  });

  it('blocks all requests during a pause, including those already waiting, then releases them one by one', async () => {
    const clock = new ManualClock();
    const throttle = new Throttle({ perSecond: 10, burst: 2 }, clock);
    const turns = ask(throttle, clock, 4);
    await clock.moveTo(50);
    expect(turns).toEqual(['0@0', '1@0']);
    throttle.pause(1000);
    // A shorter pause does not shorten it.
    throttle.pause(10);
    ask(throttle, clock, 1, turns);
    await clock.moveTo(1049);
    expect(turns).toHaveLength(2);
    await clock.moveTo(1600);
    expect(turns.slice(2).map((turn) => turn.split('@')[1])).toEqual(['1050', '1150', '1250']);
  });

  it('rejects a request whose signal is aborted', async () => {
    const clock = new ManualClock();
    const throttle = new Throttle({ perSecond: 1, burst: 1 }, clock);
    const stop = new AbortController();
    await throttle.take(stop.signal);
    const second = throttle.take(stop.signal);
    stop.abort(new Error('enough'));
    await expect(second).rejects.toThrow('enough');
    await expect(throttle.take(stop.signal)).rejects.toThrow('enough');
  });
});
