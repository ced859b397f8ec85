import type { DraDriver } from '../../../api/module/spec.ts';
import type { ModuleName } from '../../../builder/labels.ts';
import { deviceClasses, modules } from '../../observe/cluster/resources.ts';
import type { ApiClient } from '../../runtime/api/client.ts';
import { ignoreNotFound, ignoreOutdated, isApiError } from '../../runtime/api/errors.ts';
import { listAll } from '../../runtime/api/list.ts';
import type { ObjectMetadata } from '../../runtime/api/object-key.ts';
import { addFinalizer, removeFinalizer } from '../../runtime/finalizers.ts';
import type { DeviceClassAccess, DeviceClassCache } from './device-class-cache.ts';
import { deviceClassLabels, deviceClassSelector, planDeviceClasses } from './plan-device-classes.ts';

/** Holds a Module until its DeviceClasses are deleted: without a namespace, they cannot have it as owner. */
export const deviceClassFinalizer = 'kmm.sigs.x-k8s.io/device-classes';

/** What keeps a driver for dynamic resource allocation from being deployed as its Module says. */
export interface DraProblem {
  readonly reason: string;
  /** A sentence. */
  readonly message: string;
}

/** Whether a Module's driver for dynamic resource allocation can be deployed. */
export interface DraState {
  readonly isServed: boolean;
  readonly problem: DraProblem | undefined;
}

/** A Module as far as its DeviceClasses depend on it. */
export interface DeviceClassOwner {
  readonly module: ModuleName;
  readonly metadata: ObjectMetadata;
  readonly dra: DraDriver | undefined;
}

/** Milliseconds after which a DeviceClass that was refused is tried again. */
const retryInterval = 60_000;

/** Creates, changes and deletes the DeviceClasses of Modules. */
export class DeviceClassKeeper {
  readonly #client: ApiClient;
  readonly #cache: DeviceClassCache;

  constructor(client: ApiClient, cache: DeviceClassCache) {
    this.#client = client;
    this.#cache = cache;
  }

  /**
   * Makes the DeviceClasses of a Module as it says.
   * @returns undefined if the Module has changed by that, or if it is not known yet what the API server has: the
   *   Module is reconciled again
   * @throws ApiError
   */
  async reconcile(
    owner: DeviceClassOwner,
    signal: AbortSignal,
  ): Promise<(DraState & { readonly requeueAfter?: number }) | undefined> {
    const { dra, metadata } = owner;
    if (dra === undefined) {
      if (metadata.finalizers?.includes(deviceClassFinalizer) !== true) return nothing;
      await this.release(owner, signal);
      return undefined;
    }
    this.#cache.request();
    const { access } = this.#cache;
    if (access === 'unknown') return undefined;
    if (access !== 'served') return { isServed: false, problem: problems[access] };
    return this.#write(owner, dra, signal);
  }

  /** Deletes all DeviceClasses of a Module, and lets go of it. @throws ApiError */
  async release({ module, metadata }: Omit<DeviceClassOwner, 'dra'>, signal: AbortSignal): Promise<void> {
    const labelSelector = deviceClassSelector(module);
    const present = await listAll(this.#client, deviceClasses, { labelSelector, signal }).catch(
      ignoreNotFound,
    );
    for (const { metadata: one } of present ?? []) await this.#delete(one, signal);
    await removeFinalizer(this.#client, modules, { metadata }, deviceClassFinalizer, { signal }).catch(
      ignoreOutdated,
    );
  }

  async #write(
    { module, metadata }: DeviceClassOwner,
    { deviceClasses: wanted = [] }: DraDriver,
    signal: AbortSignal,
  ): Promise<(DraState & { readonly requeueAfter?: number }) | undefined> {
    const { create, change, remove, foreign } = planDeviceClasses(module, wanted, this.#cache.list());
    if (wanted.length > 0 && metadata.finalizers?.includes(deviceClassFinalizer) !== true) {
      await addFinalizer(this.#client, modules, { metadata }, deviceClassFinalizer, { signal }).catch(
        ignoreOutdated,
      );
      return undefined;
    }
    const labels = deviceClassLabels(module);
    const refusals: DraProblem[] = [];
    const attempt = async (name: string, write: () => Promise<unknown>): Promise<void> => {
      try {
        await write();
      } catch (error) {
        // Its event will follow.
        if (isApiError(error, 'ALREADY_EXISTS', 'CONFLICT', 'NOT_FOUND')) return;
        if (!isApiError(error, 'INVALID', 'FORBIDDEN', 'BAD_REQUEST')) throw error;
        refusals.push(refused(name, error.message));
      }
    };
    for (const { name, selectors, config } of create) {
      const object = {
        metadata: { name, labels },
        spec: { selectors: selectors ?? [], config: config ?? [] },
      };
      await attempt(name, () => this.#client.create(deviceClasses, object, { signal }));
    }
    for (const {
      present,
      wanted: { name, selectors, config },
    } of change) {
      const { uid, resourceVersion } = present;
      // What others have set besides, such as the name of an extended resource, stays.
      const spec = { selectors: selectors ?? null, config: config ?? null };
      const patch = { metadata: { uid, resourceVersion, labels }, spec };
      await attempt(name, () => this.#client.patch(deviceClasses, { name }, patch, { signal }));
    }
    for (const one of remove) await this.#delete(one, signal);
    const [refusal] = refusals;
    const [name] = foreign;
    return {
      isServed: true,
      problem: refusal ?? (name === undefined ? undefined : foreignProblem(name)),
      ...(refusal === undefined ? {} : { requeueAfter: retryInterval }),
    };
  }

  async #delete(
    { name, uid }: { readonly name: string; readonly uid?: string | undefined },
    signal: AbortSignal,
  ): Promise<void> {
    await this.#client.delete(deviceClasses, { name }, { uid, signal }).catch(ignoreOutdated);
  }
}

/** A Module that asks for no driver. */
const nothing: DraState = { isServed: false, problem: undefined };

const problems: Readonly<Record<Exclude<DeviceClassAccess, 'served' | 'unknown'>, DraProblem>> = {
  absent: {
    reason: 'DraNotServed',
    message:
      'The API server does not have resource.k8s.io/v1, so nothing of spec.dra is deployed: it needs Kubernetes 1.34 or newer.',
  },
  forbidden: {
    reason: 'DeviceClassesForbidden',
    message:
      'The operator may not read DeviceClasses, so nothing of spec.dra is deployed. Apply the ClusterRole of this version.',
  },
};

function foreignProblem(name: string): DraProblem {
  return {
    reason: 'ForeignDeviceClass',
    message: `The DeviceClass ${name} is there, but not of this Module, and stays as it is. Delete it, or name another one in spec.dra.deviceClasses.`,
  };
}

function refused(name: string, message: string): DraProblem {
  return {
    reason: 'DeviceClassRefused',
    message: `The API server refuses the DeviceClass ${name} of spec.dra.deviceClasses: ${message}`,
  };
}
