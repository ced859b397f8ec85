import { LruMap } from '../../shared/lru.ts';

/** Events of one type about one object that may be written at once. */
const burst = 25;
/** Milliseconds until one more may be written. */
const interval = 5 * 60_000;
/** The most objects followed; the least recently used are forgotten first. */
const maxObjects = 4096;

/**
 * Limits the new Events about each object, as client-go does: a burst of 25, then one in five minutes. An
 * object with many kernels or nodes would otherwise cost the API server more by its Events than by its work.
 */
export class EventBudget {
  /** When the budget of an object would be full again, in milliseconds. */
  readonly #full = new LruMap<number>(maxObjects);

  /**
   * Spends one Event, if there is one left.
   * @param subject the object and the type of its Event: warnings do not wait for what is normal
   * @param now milliseconds since any fixed time
   */
  spend(subject: string, now: number): boolean {
    const full = Math.max(this.#full.get(subject) ?? 0, now);
    if (full - now > (burst - 1) * interval) return false;
    this.#full.set(subject, full + interval);
    return true;
  }
}
