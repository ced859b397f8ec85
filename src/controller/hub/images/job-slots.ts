import type { JobFacts } from '../../observe/cluster/projections.ts';

export interface JobSlotsOptions {
  /** The most concurrent Jobs. */
  readonly limit: number;
  /** The Jobs as the cache has them. */
  readonly jobs: () => readonly JobFacts[];
  /** Called with the image that is next. */
  readonly wake: (image: string) => void;
  /** Milliseconds since any fixed time. */
  readonly now: () => number;
}

/** A request for a slot. */
export interface SlotRequest {
  readonly image: string;
  /** Value of the Job's label that names the Module. */
  readonly module: string;
  readonly job: string;
}

/** Milliseconds for which an admitted Job counts although the cache has not seen it. */
const reservationTime = 60_000;

/**
 * Limits the number of concurrent Jobs. The next slot goes to the waiting module with the fewest Jobs and,
 * among several, to the one that was served least recently.
 */
export class JobSlots {
  readonly #options: JobSlotsOptions;
  /** Modules of the waiting images, in the order of arrival. */
  readonly #waiting = new Map<string, string>();
  readonly #reserved = new Map<string, { readonly module: string; readonly until: number }>();
  /** Modules, the most recently served last. */
  readonly #served = new Set<string>();
  /** The image that was woken last, until it asks or leaves: it need not be woken for each free slot and each Job. */
  #woken: string | undefined;

  constructor(options: JobSlotsOptions) {
    this.#options = options;
  }

  /** The number of waiting images. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** Acquires a slot if the image is next or its Job has one. Otherwise the image is woken when it is next. */
  acquire({ image, module, job }: SlotRequest): boolean {
    this.#answered(image);
    if (this.#reserved.has(job)) return true;
    this.#waiting.set(image, module);
    const isGranted = this.#next() === image;
    if (isGranted) {
      this.#waiting.delete(image);
      this.#reserved.set(job, { module, until: this.#options.now() + reservationTime });
      this.#served.delete(module);
      this.#served.add(module);
    }
    this.wakeNext();
    return isGranted;
  }

  /** Removes an image from the queue. */
  leave(image: string): void {
    this.#answered(image);
    if (this.#waiting.delete(image)) this.wakeNext();
  }

  /** Releases the slot of an admitted Job that could not be created. */
  release(job: string): void {
    if (this.#reserved.delete(job)) this.wakeNext();
  }

  /** Wakes the next image if a slot is free, unless it has been woken and is about to ask. */
  wakeNext(): void {
    const next = this.#next();
    if (next === undefined || next === this.#woken) return;
    this.#woken = next;
    this.#options.wake(next);
  }

  #answered(image: string): void {
    if (this.#woken === image) this.#woken = undefined;
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

  /** Returns the modules of all running Jobs, one entry per Job. */
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
