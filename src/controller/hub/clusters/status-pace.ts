import type { ManagedClusterModuleStatus } from '../../../api/managed-cluster-module.ts';

/** Clusters and images in a status that is written at the interval; a longer one is written less often. */
const shortStatus = 50;

/** What is known about the status of one ManagedClusterModule. */
interface WrittenStatus {
  /** When it was written, in milliseconds. */
  readonly at: number;
  /** Phases of clusters and images that it had since they all were ready. */
  readonly phases: ReadonlySet<string>;
}

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
  /** By UID. */
  readonly #written = new Map<string, WrittenStatus>();

  /** @param interval milliseconds between two writes of a short status that are not urgent */
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
    if (before === undefined || verdictOf(before) !== verdictOf(after)) return 0;
    const { at = -Infinity, phases } = this.#written.get(uid) ?? {};
    const known = phasesOf(before);
    // Clusters pass through the same phases one after another: only the first that gets so far is news.
    if (phasesOf(after).some((phase) => !known.includes(phase) && phases?.has(phase) !== true)) return 0;
    const length = (after.clusters?.length ?? 0) + (after.images?.length ?? 0);
    return Math.max(0, at + this.#interval * Math.max(1, length / shortStatus) - now);
  }

  /** Notes that a status was written. */
  written(uid: string, status: ManagedClusterModuleStatus, now: number): void {
    const isReady = status.conditions?.some(
      ({ type, status: value }) => type === 'Ready' && value === 'True',
    );
    const earlier = isReady === true ? [] : (this.#written.get(uid)?.phases ?? []);
    this.#written.set(uid, { at: now, phases: new Set([...earlier, ...phasesOf(status)]) });
  }

  /** Forgets a ManagedClusterModule that was deleted. */
  forget(uid: string): void {
    this.#written.delete(uid);
  }
}

/** Returns the part of a status that others wait for. */
function verdictOf({ observedGeneration, conditions, numberDesired }: ManagedClusterModuleStatus): string {
  return JSON.stringify([
    observedGeneration,
    numberDesired,
    conditions?.map(({ type, status, reason }) => [type, status, reason]),
  ]);
}

/** Returns the phases that clusters and images are in, not how many are. */
function phasesOf({ phases = {}, images = [] }: ManagedClusterModuleStatus): string[] {
  return [...Object.keys(phases), ...new Set(images.map(({ phase }) => `image ${phase}`))];
}
