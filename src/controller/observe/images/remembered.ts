import { Flights } from '../../../shared/flights.ts';
import { Recent } from '../../../shared/lru.ts';
import type { Admit } from './looks.ts';

/** How something is found out, once. */
export interface Question<T> {
  /** What is asked: equal questions have equal answers for ever. */
  readonly key: string;
  /** Who asks: only equal callers may share an error. */
  readonly caller: string;
  /** Waits for its turn; what is known by then is not asked for. */
  readonly admit: Admit;
  readonly work: (signal: AbortSignal) => Promise<T>;
}

/** Answers that never change, found out once. */
export class Remembered<T> {
  readonly #answers: Recent<T>;
  readonly #flights = new Flights<T>();

  constructor(limit: number) {
    this.#answers = new Recent(limit);
  }

  /** Gives the answer; an error is not remembered. */
  async ask({ key, caller, admit, work }: Question<T>): Promise<T> {
    const known = this.#answers.get(key);
    if (known !== undefined) return known;
    return admit(async (signal) => {
      // Somebody may have asked while it waited for its turn.
      const answered = this.#answers.get(key);
      if (answered !== undefined) return answered;
      return this.#flights.join(JSON.stringify([key, caller]), signal, async (flight) => {
        const answer = await work(flight.signal);
        this.#answers.set(key, answer);
        return answer;
      });
    });
  }

  /** Aborts what is under way. */
  close(): void {
    this.#flights.close();
  }
}
