import type { JobFacts } from '../../observe/cluster/projections.ts';

export interface JobSlotsOptions {
  /** Jobs at a time. */
  readonly limit: number;
  /** The Jobs as the cache has them. */
  readonly jobs: () => readonly JobFacts[];
  /** Told whose turn it is. */
  readonly wake: (image: string) => void;
  /** Milliseconds since any fixed time. */
  readonly now: () => number;
}

/** Asks for a slot. */
export interface SlotRequest {
  readonly image: string;
  /** Value of the Job's label with the name of the Module. */
  readonly module: string;
  readonly job: string;
}

/** Milliseconds for which a Job that was admitted counts, although the cache has not seen it. */
const reservation = 60_000;

/**
 * Lets so many Jobs run at a time. Of those that wait, the next is of the module that has the fewest Jobs, and of
 * several such modules that which waited longest since its last one.
 */
export class JobSlots {
  readonly #options: JobSlotsOptions;
  /** Modules of the images that wait, in the order in which they came. */
  readonly #waiting = new Map<string, string>();
  readonly #reserved = new Map<string, { readonly module: string; readonly until: number }>();
  /** Modules in the order in which they were served last. */
  readonly #served = new Set<string>();

  constructor(options: JobSlotsOptions) {
    this.#options = options;
  }

  /** How many wait. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** Takes a slot, if it is this image's turn, or has one for this Job already. Else the image is woken when it may be. */
  take({ image, module, job }: SlotRequest): boolean {
    if (this.#reserved.has(job)) return true;
    this.#waiting.set(image, module);
    const isGranted = this.#next() === image;
    if (isGranted) {
      this.#waiting.delete(image);
      this.#reserved.set(job, { module, until: this.#options.now() + reservation });
      this.#served.delete(module);
      this.#served.add(module);
    }
    this.wakeNext();
    return isGranted;
  }

  /** The image does not wait any more. */
  leave(image: string): void {
    if (this.#waiting.delete(image)) this.wakeNext();
  }

  /** A Job that was admitted could not be made. */
  giveBack(job: string): void {
    if (this.#reserved.delete(job)) this.wakeNext();
  }

  /** Wakes the image whose turn it is, if there is a slot. */
  wakeNext(): void {
    const next = this.#next();
    if (next !== undefined) this.#options.wake(next);
  }

  #next(): string | undefined {
    const running = this.#running();
    if (running.length >= this.#options.limit) return undefined;
    const counts = new Map<string, number>();
    for (const module of running) counts.set(module, (counts.get(module) ?? 0) + 1);
    const served = new Map([...this.#served].map((module, index) => [module, index]));
    let best: { readonly image: string; readonly count: number; readonly served: number } | undefined;
    for (const [image, module] of this.#waiting) {
      const one = { image, count: counts.get(module) ?? 0, served: served.get(module) ?? -1 };
      const isBetter =
        best === undefined ||
        one.count < best.count ||
        (one.count === best.count && one.served < best.served);
      if (isBetter) best = one;
    }
    return best?.image;
  }

  /** The modules of all Jobs that run, one entry for each Job. */
  #running(): string[] {
    const jobs = this.#options.jobs();
    const now = this.#options.now();
    const known = new Set(jobs.map(({ key }) => key.name));
    for (const [job, { until }] of this.#reserved) {
      if (known.has(job) || until < now) this.#reserved.delete(job);
    }
    const active = jobs.filter(
      ({ state, suspended, deleting }) => state === 'active' && !suspended && !deleting,
    );
    return [
      ...active.map(({ module = '' }) => module),
      ...Array.from(this.#reserved.values(), ({ module }) => module),
    ];
  }
}
