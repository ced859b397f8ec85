import { Flights } from '../../../shared/flights.ts';
import { LruMap } from '../../../shared/lru.ts';
import type { Admit } from './looks.ts';
import type { ResolvedImage } from './resolve.ts';

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
  readonly #answers: LruMap<T>;
  readonly #flights = new Flights<T>();

  constructor(limit: number) {
    this.#answers = new LruMap(limit);
  }

  /** Returns the answer; an error is not remembered. */
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

/** Images that are remembered; the least recently used are forgotten first. */
const limit = 10_000;

export interface ResolutionsOptions {
  /** Milliseconds for which an answer holds. */
  readonly foundTtl: number;
  readonly missingTtl: number;
  /** Milliseconds since any fixed time. */
  readonly now: () => number;
}

/** How an image is asked for. */
export interface ResolutionQuery {
  readonly image: string;
  /** Who asks. */
  readonly caller: string;
  /** Whether it names a digest: then what was found stays so. */
  readonly isPinned: boolean;
  /** Waits for its turn; what is known by then is not asked for. */
  readonly admit: Admit;
  /** Asks the registry. `known` is what it said the last time. */
  readonly work: (
    known: ResolvedImage | undefined,
    signal: AbortSignal,
  ) => Promise<ResolvedImage | undefined>;
}

interface Resolution {
  readonly image: ResolvedImage | undefined;
  /** From then on it is asked for again. */
  readonly until: number;
}

/** What registries have said of tags, for as long as that may be relied on. */
export class Resolutions {
  readonly #options: ResolutionsOptions;
  readonly #known = new LruMap<Resolution>(limit);
  readonly #flights = new Flights<ResolvedImage | undefined>();

  constructor(options: ResolutionsOptions) {
    this.#options = options;
  }

  /** Returns what is known, or asks. Errors are not remembered. */
  async resolve(query: ResolutionQuery): Promise<ResolvedImage | undefined> {
    const key = `${prefixOf(query.image)}${query.caller}`;
    const known = this.#fresh(key);
    if (known !== undefined) return known.image;
    return query.admit(async (signal) => {
      // Somebody may have asked while it waited for its turn.
      const answered = this.#fresh(key);
      return answered === undefined ? this.#ask(key, query, signal) : answered.image;
    });
  }

  #fresh(key: string): Resolution | undefined {
    const known = this.#known.get(key);
    return known !== undefined && this.#options.now() < known.until ? known : undefined;
  }

  #ask(
    key: string,
    { isPinned, work }: ResolutionQuery,
    signal: AbortSignal,
  ): Promise<ResolvedImage | undefined> {
    const { now, foundTtl, missingTtl } = this.#options;
    return this.#flights.join(key, signal, async (flight) => {
      const asked = now();
      const found = await work(this.#known.get(key)?.image, flight.signal);
      const ttl = found === undefined ? missingTtl : isPinned ? Number.POSITIVE_INFINITY : foundTtl;
      if (!flight.isForgotten) this.#known.set(key, { image: found, until: asked + ttl });
      return found;
    });
  }

  /** Asks for an image anew the next time. What is being asked is not remembered. */
  forget(image: string): void {
    this.#known.forget(prefixOf(image));
    this.#flights.forget(prefixOf(image));
  }

  /** Aborts what is under way. */
  close(): void {
    this.#flights.close();
  }
}

/** Image names hold no blanks. */
function prefixOf(image: string): string {
  return `${image} `;
}
