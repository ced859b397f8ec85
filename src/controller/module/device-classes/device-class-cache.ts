import type { V1DeviceClassConfiguration, V1DeviceSelector } from '@kubernetes/client-node';
import { abortable } from '../../../shared/abortable.ts';
import { backoffDelay, pause, withJitter } from '../../../shared/backoff.ts';
import type { Logger } from '../../../shared/logger.ts';
import { deviceClasses, type DeviceClass } from '../../observe/cluster/resources.ts';
import type { ApiClient } from '../../runtime/api/client.ts';
import { isServed } from '../../runtime/api/discovery.ts';
import { isApiError } from '../../runtime/api/errors.ts';
import { listPages } from '../../runtime/api/list.ts';
import { Informer, type CacheHandler } from '../../runtime/cache/informer.ts';

/** The part of a DeviceClass that is cached. */
export interface CachedDeviceClass {
  readonly name: string;
  readonly uid: string;
  readonly resourceVersion: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly selectors: readonly V1DeviceSelector[];
  readonly config: readonly V1DeviceClassConfiguration[];
}

/** Whether DeviceClasses can be read. Absent: the API server has none; forbidden: the operator's role lacks them. */
export type DeviceClassAccess = 'unknown' | 'served' | 'absent' | 'forbidden';

/** Milliseconds after which an API server is asked again that has no DeviceClasses, or forbids to read them. */
const recheckInterval = 60_000;
const retryBackoff = { first: 500, limit: 30_000 };

/**
 * A cache of all DeviceClasses of the cluster. API servers before Kubernetes 1.34 do not have them, and most
 * clusters have no Module that needs them: nothing is asked before one does.
 */
export class DeviceClassCache {
  readonly #client: ApiClient;
  readonly #log: Logger;
  readonly #recheckInterval: number;
  readonly #informer: Informer<DeviceClass, CachedDeviceClass>;
  readonly #requested = Promise.withResolvers<void>();
  readonly #handlers = new Set<() => void>();
  #access: DeviceClassAccess = 'unknown';

  /** @param interval milliseconds after which it is asked again for what was not there. @default a minute */
  constructor(client: ApiClient, log: Logger, interval: number = recheckInterval) {
    this.#client = client;
    this.#log = log;
    this.#recheckInterval = interval;
    this.#informer = new Informer({ client, log, resource: deviceClasses, project });
  }

  get access(): DeviceClassAccess {
    return this.#access;
  }

  list(): CachedDeviceClass[] {
    return this.#informer.list();
  }

  /** Has the cache find out about DeviceClasses and follow them, if it does not yet. */
  request(): void {
    this.#requested.resolve();
  }

  /** Calls a handler when it becomes known whether DeviceClasses can be read, and when that changes. */
  onAccess(handler: () => void): void {
    this.#handlers.add(handler);
  }

  /** Calls a handler for each DeviceClass and for every change of one. */
  onEvent(handler: CacheHandler<CachedDeviceClass>): void {
    this.#informer.onEvent(handler);
  }

  /** Follows the cluster, once that is requested, until the signal is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    try {
      await abortable(this.#requested.promise, signal);
      if (!(await this.#untilServed(signal))) return;
      const running = this.#informer.run(signal);
      await this.#informer.waitForSync(signal);
      this.#setAccess('served');
      await running;
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }

  /** @returns false if the signal was aborted before */
  async #untilServed(signal: AbortSignal): Promise<boolean> {
    let failures = 0;
    while (!signal.aborted) {
      try {
        const access = await findAccess(this.#client, signal);
        if (access === 'served') return true;
        failures = 0;
        this.#setAccess(access);
        await pause(this.#recheckInterval, signal);
      } catch (error) {
        if (signal.aborted) return false;
        failures += 1;
        this.#log.warn('it is not known whether there are DeviceClasses', { failures, error });
        await pause(withJitter(backoffDelay(failures, retryBackoff)), signal);
      }
    }
    return false;
  }

  #setAccess(access: DeviceClassAccess): void {
    if (access === this.#access) return;
    this.#access = access;
    for (const handler of this.#handlers) handler();
  }
}

/** Asks the API server. @throws ApiError if it does not respond */
async function findAccess(client: ApiClient, signal: AbortSignal): Promise<DeviceClassAccess> {
  try {
    if (!(await isServed(client, deviceClasses, signal))) return 'absent';
    await listPages(client, deviceClasses, { pageSize: 1, signal }).next();
    return 'served';
  } catch (error) {
    if (isApiError(error, 'NOT_FOUND')) return 'absent';
    if (isApiError(error, 'FORBIDDEN')) return 'forbidden';
    throw error;
  }
}

function project({ metadata, spec }: DeviceClass): CachedDeviceClass {
  return {
    name: metadata.name,
    uid: metadata.uid ?? '',
    resourceVersion: metadata.resourceVersion ?? '',
    labels: metadata.labels ?? {},
    selectors: spec.selectors ?? [],
    config: spec.config ?? [],
  };
}
