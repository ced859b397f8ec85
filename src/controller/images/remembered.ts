import { Flights } from '../../shared/flights.ts';
import { Recent } from '../../shared/recent.ts';

/** How something is found out, once. */
export interface Question<T> {
  /** What is asked: equal questions have equal answers for ever. */
  readonly key: string;
  /** Who asks: only equal callers may share an error. */
  readonly caller: string;
  readonly signal?: AbortSignal | undefined;
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
  async ask({ key, caller, signal, work }: Question<T>): Promise<T> {
    const known = this.#answers.get(key);
    if (known !== undefined) return known;
    return this.#flights.join(JSON.stringify([key, caller]), signal, async (flight) => {
      const answer = await work(flight.signal);
      this.#answers.set(key, answer);
      return answer;
    });
  }

  /** Aborts what is under way. */
  close(): void {
    this.#flights.close();
  }
}
