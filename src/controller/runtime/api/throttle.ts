import { performance } from 'node:perf_hooks';
import { sleep } from '../../../shared/abortable.ts';

/** A limit on the request rate of a client. */
export interface RequestRate {
  /** On average. */
  readonly perSecond: number;
  /** The most requests at once, after a period of idleness. */
  readonly burst: number;
}

/** A clock, replaceable in tests. */
export interface Clock {
  /** Milliseconds since any fixed time. */
  now(): number;
  /** Waits some milliseconds. @throws the signal's reason if it is aborted first */
  sleep(milliseconds: number, signal?: AbortSignal): Promise<void>;
}

const systemClock: Clock = { now: () => performance.now(), sleep };

/**
 * Limits the request rate of a client, in the order of the requests. A pause that the server requests stops
 * all of them.
 */
export class Throttle {
  readonly #clock: Clock;
  /** Milliseconds between requests. */
  readonly #interval: number;
  /** Milliseconds by which requests may be early: those of a whole burst. */
  readonly #ahead: number;
  /** When the next request is due at the average rate. */
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
      // If a pause has begun meanwhile, the request waits again.
      if (this.#clock.now() >= this.#pausedUntil) return;
    }
  }

  /** Blocks all requests for some milliseconds. After that they are sent one by one, without a burst. */
  pause(milliseconds: number): void {
    this.#pausedUntil = Math.max(this.#pausedUntil, this.#clock.now() + milliseconds);
    this.#due = Math.max(this.#due, this.#pausedUntil + this.#ahead);
  }
}
