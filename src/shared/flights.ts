import { abortable, sleep } from './abortable.ts';

/** Context passed to work in progress. */
export interface FlightContext {
  /** Aborted when nobody is waiting for the result any more. */
  readonly signal: AbortSignal;
  /** Whether its result may be out of date by now. */
  readonly isForgotten: boolean;
}

type Work<T> = (context: FlightContext) => Promise<T>;

/**
 * Returns a function that does its work on the first call and returns the same result ever after. A failure
 * is not cached: the next call tries again.
 */
export function once<T>(work: () => Promise<T>): () => Promise<T> {
  let result: Promise<T> | undefined;
  return () => {
    result ??= work().catch((error: unknown) => {
      result = undefined;
      throw error;
    });
    return result;
  };
}

interface Flight<T> {
  readonly result: Promise<T>;
  readonly stop: AbortController;
  readonly context: { readonly signal: AbortSignal; isForgotten: boolean };
  waiting: number;
  hasSettled: boolean;
}

/**
 * Deduplicates concurrent work: what several callers request at the same time is done once. It is aborted
 * when none of them is waiting any more.
 */
export class Flights<T> {
  readonly #flights = new Map<string, Flight<T>>();

  /** Joins the work in progress for a key, or starts it. Rejects when the caller's signal is aborted. */
  async join(key: string, signal: AbortSignal | undefined, work: Work<T>): Promise<T> {
    signal?.throwIfAborted();
    const flight = this.#flights.get(key) ?? this.#begin(key, work);
    flight.waiting += 1;
    try {
      return await abortable(flight.result, signal);
    } finally {
      flight.waiting -= 1;
      if (flight.waiting === 0) {
        this.#end(key, flight);
        // Aborting makes an error with a stack: not for each that has ended by itself.
        if (!flight.hasSettled) flight.stop.abort();
      }
    }
  }

  /**
   * Stops new callers from joining the work in progress for keys with a prefix. Those already waiting get its
   * result.
   */
  forget(prefix: string): void {
    for (const [key, flight] of this.#flights) {
      if (!key.startsWith(prefix)) continue;
      flight.context.isForgotten = true;
      this.#flights.delete(key);
    }
  }

  /** Aborts all work. */
  close(): void {
    for (const { stop } of this.#flights.values()) stop.abort();
  }

  #begin(key: string, work: Work<T>): Flight<T> {
    const stop = new AbortController();
    const context = { signal: stop.signal, isForgotten: false };
    const flight: Flight<T> = { result: work(context), stop, context, waiting: 0, hasSettled: false };
    this.#flights.set(key, flight);
    const settled = (): void => {
      flight.hasSettled = true;
      this.#end(key, flight);
    };
    // Callers that are waiting see the error; without any, it is dropped.
    flight.result.then(settled, settled);
    return flight;
  }

  #end(key: string, flight: Flight<T>): void {
    if (this.#flights.get(key) === flight) this.#flights.delete(key);
  }
}

interface FreshRead<T> {
  readonly running: Promise<T>;
  /** Whether it was too late to ask for this read: what it returns may be older than the question. */
  hasBegun: boolean;
  next: Promise<T> | undefined;
}

/**
 * Shares reads of what changes: callers that come while a read is in progress share the next one, so that
 * what each of them gets was read after it had asked. A read can be delayed so that more callers share it.
 */
export class FreshReads<T> {
  readonly #read: (key: string) => Promise<T>;
  readonly #gathering: number;
  readonly #reads = new Map<string, FreshRead<T>>();

  /** @param gathering milliseconds from the first question to its read. @default 0 */
  constructor(read: (key: string) => Promise<T>, gathering = 0) {
    this.#read = read;
    this.#gathering = gathering;
  }

  /** Reads what a key stands for. Rejects as the read does. */
  read(key: string): Promise<T> {
    const current = this.#reads.get(key);
    if (current === undefined) return this.#begin(key);
    if (!current.hasBegun) return current.running;
    const begin = (): Promise<T> => this.#begin(key);
    current.next ??= current.running.then(begin, begin);
    return current.next;
  }

  #begin(key: string): Promise<T> {
    const isDelayed = this.#gathering > 0;
    const current: FreshRead<T> = {
      running: isDelayed
        ? sleep(this.#gathering).then(() => {
            current.hasBegun = true;
            return this.#read(key);
          })
        : this.#read(key),
      hasBegun: !isDelayed,
      next: undefined,
    };
    this.#reads.set(key, current);
    const ended = (): void => {
      if (current.next === undefined) this.#reads.delete(key);
    };
    current.running.then(ended, ended);
    return current.running;
  }
}
