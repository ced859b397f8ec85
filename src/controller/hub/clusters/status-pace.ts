import type { ManagedClusterModuleStatus } from '../../../api/managed-cluster-module.ts';

/**
 * Decides when a status is written. While a fleet makes progress, the status of each ManagedClusterModule changes
 * several times a second, and a long one costs the API server as much as five ManifestWorks. What somebody may be
 * waiting for is written at once, and the rest at an interval; the last state is always written.
 *
 * A later status keeps no Job from starting, since a Job's slot is free when it has ended. It does keep the Jobs
 * themselves longer: they are deleted once their result is in every status.
 */
export class StatusPace {
  readonly #interval: number;
  /** When each status was written, in milliseconds, by UID. */
  readonly #written = new Map<string, number>();

  /** @param interval milliseconds between two writes that are not urgent */
  constructor(interval: number) {
    this.#interval = interval;
  }

  /**
   * Returns after how many milliseconds a status can be written; 0 for now.
   * @param before the one that the API server has
   * @param now milliseconds since any fixed time
   */
  delay(
    uid: string,
    {
      before,
      after,
    }: {
      readonly before: ManagedClusterModuleStatus | undefined;
      readonly after: ManagedClusterModuleStatus;
    },
    now: number,
  ): number {
    const due = (this.#written.get(uid) ?? -Infinity) + this.#interval;
    return before === undefined || verdictOf(before) !== verdictOf(after) ? 0 : Math.max(0, due - now);
  }

  /** Notes that a status was written. */
  written(uid: string, now: number): void {
    this.#written.set(uid, now);
  }

  /** Forgets a ManagedClusterModule that was deleted. */
  forget(uid: string): void {
    this.#written.delete(uid);
  }
}

/** Returns the part of a status that others wait for: with phases, but not how many have reached them. */
function verdictOf(status: ManagedClusterModuleStatus): string {
  const { observedGeneration, conditions, numberDesired, phases, images } = status;
  return JSON.stringify([
    observedGeneration,
    numberDesired,
    conditions?.map(({ type, status: value, reason }) => [type, value, reason]),
    Object.keys(phases ?? {}).toSorted(),
    [...new Set(images?.map(({ phase }) => phase))].toSorted(),
  ]);
}
