import { performance } from 'node:perf_hooks';
import { silentLogger, type Logger } from '../../../shared/logger.ts';
import type { ApiClient } from '../api/client.ts';
import { pause, withJitter } from '../../../shared/backoff.ts';
import { isApiError, ignoreNotFound, ignoreOutdated } from '../api/errors.ts';
import { formatKey, type ObjectKey } from '../api/object-key.ts';
import { acquired, leases, released, type Lease } from './lease.ts';

export interface LeaderElectionOptions {
  readonly client: ApiClient;
  /** The Lease. */
  readonly lease: ObjectKey;
  /** Unique among all candidates ever: a restarted process is a different one. */
  readonly identity: string;
  /** Milliseconds for which others wait after the last renewal they saw. Whole seconds. @default 15000 */
  readonly leaseDuration?: number | undefined;
  /** Milliseconds after which a leader that cannot renew stops. Less than leaseDuration. @default 10000 */
  readonly renewDeadline?: number | undefined;
  /** Milliseconds between attempts. @default 2000 */
  readonly retryPeriod?: number | undefined;
  readonly log?: Logger | undefined;
  readonly onChange?: ((isLeader: boolean) => void) | undefined;
}

/** How leadership ended. */
export type LeadershipEnd = 'stopped' | 'lost';

/**
 * Elects one of several processes as the leader. All times are by this process's monotonic clock; clocks of
 * different machines are never compared. A leader counts from before it sends a renewal, the others from when
 * they see it, so the leader's time is over before theirs.
 */
export class LeaderElection {
  readonly #options: LeaderElectionOptions;
  readonly #leaseDuration: number;
  readonly #renewDeadline: number;
  readonly #retryPeriod: number;
  readonly #log: Logger;
  /** The lease as last seen, and since when it has been unchanged. */
  #observed: { lease: Lease; since: number } | undefined;
  /** The time until which we may lead. */
  #validUntil = 0;
  #leading = false;
  /** Why the last attempt failed; undefined if it did not. */
  #failure: unknown;

  /** @throws RangeError if the times are inconsistent */
  constructor(options: LeaderElectionOptions) {
    this.#options = options;
    this.#leaseDuration = options.leaseDuration ?? 15_000;
    this.#renewDeadline = options.renewDeadline ?? 10_000;
    this.#retryPeriod = options.retryPeriod ?? 2000;
    this.#log = options.log ?? silentLogger;
    if (this.#leaseDuration % 1000 !== 0 || this.#renewDeadline >= this.#leaseDuration) {
      throw new RangeError('leaseDuration must be whole seconds, and above renewDeadline');
    }
  }

  /** Whether this process leads right now. False after the deadline, even if a timer is late. */
  get isLeader(): boolean {
    return this.#leading && performance.now() < this.#validUntil;
  }

  /**
   * Waits for leadership, then calls `lead` once. Its `stop` means that it should finish its work; its `lost` means
   * that another process may already lead, so it must write nothing more. The lease is released when `lead`
   * has returned.
   * @throws the error of `lead`
   */
  async run(
    lead: (signals: { readonly stop: AbortSignal; readonly lost: AbortSignal }) => Promise<void>,
    signal: AbortSignal,
  ): Promise<LeadershipEnd> {
    while (signal.aborted || !(await this.#attempt())) {
      if (signal.aborted) return 'stopped';
      await pause(withJitter(this.#retryPeriod), signal);
    }
    const lost = new AbortController();
    const ended = new AbortController();
    this.#setLeading(true);
    const renewing = this.#renewUntil(ended.signal, lost);
    try {
      await lead({ stop: AbortSignal.any([signal, lost.signal]), lost: lost.signal });
    } finally {
      ended.abort();
      await renewing;
      if (this.isLeader) await this.#release();
      this.#setLeading(false);
    }
    return lost.signal.aborted ? 'lost' : 'stopped';
  }

  async #renewUntil(ended: AbortSignal, lost: AbortController): Promise<void> {
    const lose = (): void => {
      if (lost.signal.aborted || ended.aborted) return;
      this.#setLeading(false);
      const { identity, lease } = this.#options;
      this.#log.error('leadership lost', {
        identity,
        lease: formatKey(lease),
        holder: this.#observed?.lease.spec?.holderIdentity,
        millisecondsSinceRenewal: Math.round(performance.now() - this.#validUntil + this.#renewDeadline),
        error: this.#failure,
      });
      lost.abort(new Error('leadership lost'));
    };
    let deadline = setTimeout(lose, this.#validUntil - performance.now());
    while (!ended.aborted && !lost.signal.aborted) {
      await pause(this.#retryPeriod, AbortSignal.any([ended, lost.signal]));
      if (ended.aborted || lost.signal.aborted) break;
      const expires = this.#validUntil;
      const renewed = await this.#attempt();
      // A late renewal does not count: work may have been stopped, or should have been.
      if (performance.now() >= expires || this.#isHeldByOther()) lose();
      else if (renewed) {
        clearTimeout(deadline);
        deadline = setTimeout(lose, this.#validUntil - performance.now());
      }
    }
    clearTimeout(deadline);
  }

  /** Acquires or renews the lease. Returns false if another process holds it or the request failed. */
  async #attempt(): Promise<boolean> {
    const started = performance.now();
    try {
      const lease = await this.#write(started);
      if (lease === undefined) return false;
      this.#observed = { lease, since: started };
      this.#validUntil = started + this.#renewDeadline;
      this.#failure = undefined;
      return true;
    } catch (error) {
      this.#failure = error;
      // Another process was faster; the next attempt sees its lease.
      if (!isApiError(error, 'CONFLICT', 'ALREADY_EXISTS')) {
        this.#log.warn('lease could not be renewed', { identity: this.#options.identity, error });
      }
      return false;
    }
  }

  async #write(started: number): Promise<Lease | undefined> {
    const { client, lease: key, identity } = this.#options;
    const call = { timeout: Math.max(1000, this.#renewDeadline / 2), urgent: true };
    const seconds = this.#leaseDuration / 1000;
    const known = this.#observed?.lease;
    if (this.#leading && known !== undefined && !this.#isHeldByOther()) {
      // One request, where two might be too slow together. The API server refuses it if another has written the Lease.
      const renewal = client.replace(leases, acquired(known, identity, seconds), call);
      const renewed = await renewal.catch(ignoreOutdated);
      if (renewed !== undefined) return renewed;
    }
    const current = await client.get(leases, key, call).catch(ignoreNotFound);
    if (current === undefined) {
      const { namespace, name } = key;
      return client.create(leases, acquired({ metadata: { namespace, name } }, identity, seconds), call);
    }
    this.#observe(current);
    if (!this.#canAcquire(current, started)) return undefined;
    return client.replace(leases, acquired(current, identity, seconds), call);
  }

  #observe(lease: Lease): void {
    if (this.#observed?.lease.metadata.resourceVersion === lease.metadata.resourceVersion) return;
    this.#observed = { lease, since: performance.now() };
  }

  #canAcquire({ spec = {} }: Lease, now: number): boolean {
    const { holderIdentity = '', leaseDurationSeconds = this.#leaseDuration / 1000 } = spec;
    if (holderIdentity === '' || holderIdentity === this.#options.identity) return true;
    const since = this.#observed?.since ?? now;
    return now - since >= leaseDurationSeconds * 1000;
  }

  #isHeldByOther(): boolean {
    return this.#observed?.lease.spec?.holderIdentity !== this.#options.identity;
  }

  async #release(): Promise<void> {
    const lease = this.#observed?.lease;
    if (lease === undefined) return;
    try {
      await this.#options.client.replace(leases, released(lease), {
        timeout: this.#retryPeriod,
        urgent: true,
      });
    } catch (error) {
      // The others then wait for it to expire.
      this.#log.warn('lease could not be released', { identity: this.#options.identity, error });
    }
  }

  #setLeading(leading: boolean): void {
    if (this.#leading === leading) return;
    this.#leading = leading;
    this.#log.info(leading ? 'started leading' : 'stopped leading', { identity: this.#options.identity });
    this.#options.onChange?.(leading);
  }
}
