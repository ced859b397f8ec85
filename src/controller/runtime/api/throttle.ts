import { performance } from 'node:perf_hooks';
import { sleep } from '../../../shared/abortable.ts';

/** How many requests a client sends. */
export interface RequestRate {
  /** On average. */
  readonly perSecond: number;
  /** At once, after a rest. */
  readonly burst: number;
}

/** The time, for tests. */
export interface Clock {
  /** Milliseconds since any fixed time. */
  now(): number;
  /** Waits some milliseconds. @throws the signal's reason when it is aborted before */
  sleep(milliseconds: number, signal?: AbortSignal): Promise<void>;
}

const systemClock: Clock = { now: () => performance.now(), sleep };

/**
 * Keeps a client from sending more requests than it should, in the order in which they come, and stops all of them when
 * the server asks for a pause.
 */
export class Throttle {
  readonly #clock: Clock;
  /** Milliseconds between requests. */
  readonly #interval: number;
  /** Milliseconds by which requests may be ahead of their time: a whole burst. */
  readonly #ahead: number;
  /** When the next request is due on average. */
  #due = 0;
  #pausedUntil = 0;

  constructor({ perSecond, burst }: RequestRate, clock: Clock = systemClock) {
    this.#clock = clock;
    this.#interval = 1000 / perSecond;
    this.#ahead = (burst - 1) * this.#interval;
  }

  /** Waits until a request may be sent. @throws the signal's reason */
  async take(signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted();
    for (;;) {
      const due = Math.max(this.#due, this.#clock.now());
      this.#due = due + this.#interval;
      const wait = due - this.#ahead - this.#clock.now();
      if (wait > 0) await this.#clock.sleep(wait, signal);
      // A pause may have begun meanwhile: then this was no turn.
      if (this.#clock.now() >= this.#pausedUntil) return;
    }
  }

  /** Sends nothing for so many milliseconds. After that, requests come one by one. */
  pause(milliseconds: number): void {
    this.#pausedUntil = Math.max(this.#pausedUntil, this.#clock.now() + milliseconds);
    this.#due = Math.max(this.#due, this.#pausedUntil + this.#ahead);
  }
}
