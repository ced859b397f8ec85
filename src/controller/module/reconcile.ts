import type { V1DaemonSet } from '@kubernetes/client-node';
import type { ModuleStatus } from '../../api/module/module.ts';
import { kernelLabelValue, labelKeys } from '../../builder/labels.ts';
import { labelValue } from '../../builder/names.ts';
import type { CachedModule, ClusterCaches } from '../observe/cluster/caches.ts';
import { requestedKernels, type PreflightCaches } from '../observe/cluster/preflights.ts';
import type { JobFacts } from '../observe/cluster/projections.ts';
import { modules } from '../observe/cluster/resources.ts';
import type { DeviceClassCache } from './device-classes/device-class-cache.ts';
import { DeviceClassKeeper } from './device-classes/device-class-keeper.ts';
import { moduleLoaderRole } from './loading/module-loader.ts';
import { loaderFinalizer } from './loading/plan-unloading.ts';
import type { LoaderSettings, OperatorAccounts } from './loading/settings.ts';
import { deleteModule } from './module-deleter.ts';
import type { PipelineServices } from '../image-pipeline/request.ts';
import type { ReferenceCache } from '../observe/references/reference-cache.ts';
import { type ReconcileResult, soonest } from '../runtime/controller.ts';
import type { EventRecorder } from '../runtime/event-recorder.ts';
import { ignoreOutdated } from '../runtime/api/errors.ts';
import { keyOf, type ObjectKey } from '../runtime/api/object-key.ts';
import { addFinalizer, isBeingDeleted } from '../runtime/finalizers.ts';
import { isSameValue } from '../runtime/same-value.ts';
import { DaemonSetWriter } from './daemon-set-writer.ts';
import { invalidEvent, statusOfInvalid } from './conditions.ts';
import { deleteJobs, findJobGarbage, type JobGarbage, withoutPreflightJobs } from './job-garbage.ts';
import type { KernelEvent } from './kernel-events.ts';
import { groupByImage, referencesOf, wantedKernels, type WantedKernel } from './wanted-kernels.ts';
import { advanceKernels, isSameResult, type KernelResult, waitingForHub } from './kernel-result.ts';
import type { ImageMetrics } from './metrics.ts';
import {
  confirmModule,
  moduleNameOf,
  namedModule,
  OutOfDate,
  ownerOf,
  type NamedModule,
} from './named-module.ts';
import { selectNodes } from './node-groups.ts';
import { planRollout } from './plan-rollout.ts';
import { ImageSharing } from './shared-images.ts';
import { ModuleStatusWriter } from './status-writer.ts';

/** The services of the Module reconciler. */
export interface ModuleServices extends PipelineServices {
  readonly caches: ClusterCaches;
  readonly references: ReferenceCache;
  readonly deviceClasses: DeviceClassCache;
  readonly events: EventRecorder;
  readonly operator: OperatorAccounts;
  readonly loader: LoaderSettings;
  /** Whether a hub builds and signs for this cluster: images must exist. */
  readonly managed?: boolean | undefined;
  readonly metrics?: Pick<ImageMetrics, 'observeJob'> | undefined;
  /** Validations that build Modules' images for kernels that no node runs yet. */
  readonly preflights?: Pick<PreflightCaches, 'validations'> | undefined;
}

/** Milliseconds until a Module that changed during a reconcile is reconciled again. */
const changedPause = 100;

/**
 * Reconciles Modules: it reads the cluster and registries, lets pure functions decide (`wantedKernels`,
 * `nextStep`, `planRollout`, `findJobGarbage`), and carries out their decisions.
 */
export class ModuleReconciler {
  readonly #services: ModuleServices;
  readonly #daemonSets: DaemonSetWriter;
  readonly #status: ModuleStatusWriter;
  readonly #sharing: ImageSharing;
  readonly #deviceClasses: DeviceClassKeeper;

  /** @param enqueue called with Modules that must be reconciled because of another one */
  constructor(services: ModuleServices, enqueue: (modules: readonly ObjectKey[]) => void) {
    this.#services = services;
    this.#sharing = new ImageSharing(() => services.caches.modules.list(), enqueue);
    this.#daemonSets = new DaemonSetWriter(services.client, services.caches);
    this.#status = new ModuleStatusWriter(services.client);
    this.#deviceClasses = new DeviceClassKeeper(services.client, services.deviceClasses);
  }

  /** @throws the error of a kernel if a retry may help, or an AggregateError of several */
  async reconcile(key: ObjectKey, signal: AbortSignal): Promise<ReconcileResult> {
    const cached = this.#services.caches.modules.get(key);
    if (cached === undefined || isBeingDeleted(cached)) {
      this.#services.references.use(key, []);
      this.#sharing.unregister(key);
      // What it owns is garbage-collected by Kubernetes once it is released.
      return cached === undefined ? {} : this.#delete(cached, signal);
    }
    const { module } = cached;
    if (module === undefined) {
      this.#sharing.unregister(key);
      return this.#reportInvalid(cached, signal);
    }
    try {
      return await this.#reconcileModule(namedModule(cached, module), signal);
    } catch (error) {
      if (error instanceof OutOfDate) return {};
      throw error;
    }
  }

  async #reconcileModule(module: NamedModule, signal: AbortSignal): Promise<ReconcileResult> {
    const { caches, references, operator, loader, settings, managed, now = Date.now } = this.#services;
    const { spec, metadata } = module;
    const selected = selectNodes(caches.nodes.list(), {
      selector: spec.selector,
      tolerations: spec.tolerations ?? [],
    });
    const wanted = wantedKernels(module, selected.groups, { managed });
    references.use(metadata, referencesOf(metadata.namespace, wanted));
    const sharedImages = this.#sharing.register(keyOf(module), wanted);
    const advance = (closely: boolean): Promise<KernelResult[]> =>
      this.#advance(module, { wanted, closely }, signal);
    const isTriggered = spec.imageRebuildTriggerGeneration !== module.status?.imageRebuildTriggerGeneration;
    const results = await advance(isTriggered);
    if (results.some(isOutOfDate)) return {};
    const dra = await this.#deviceClasses.reconcile(
      { module: moduleNameOf(module), metadata, dra: spec.dra },
      signal,
    );
    // An event will follow.
    if (dra === undefined) return {};
    const plan = planRollout({
      module,
      selected,
      results,
      daemonSets: caches.daemonSets.byIndex('owner', metadata.uid),
      pods: caches.pods.byIndex('operand', `${metadata.namespace}/${labelValue(metadata.name)}`),
      dra,
      operator,
      loader,
      builder: settings.builder,
      sharedImages,
      now: now(),
    });
    if (await this.#hold(module, plan.apply, signal)) return {};
    await this.#daemonSets.write(plan, signal);
    const outcome = await this.#status.write(module, plan.status, signal);
    // These events may already have been recorded for a Module that was out of date.
    if (outcome === 'written') this.#record(module, plan.events);
    const nextAfter =
      outcome === 'same' ? await this.#collectJobs(module, { results, advance }, signal) : undefined;
    throwErrors(results);
    return {
      requeueAfter: soonest([nextAfter, dra.requeueAfter, ...results.map(({ state }) => state.requeueAfter)]),
    };
  }

  /**
   * Adds our finalizer before a loader is written, so that the Module stays until its nodes are clean.
   * @returns whether the Module has changed by that
   */
  async #hold(
    { metadata }: NamedModule,
    apply: readonly V1DaemonSet[],
    signal: AbortSignal,
  ): Promise<boolean> {
    const loads = apply.some(
      ({ metadata: { labels = {} } = {} }) => labels[labelKeys.role] === moduleLoaderRole,
    );
    if (!loads || metadata.finalizers?.includes(loaderFinalizer) === true) return false;
    await addFinalizer(this.#services.client, modules, { metadata }, loaderFinalizer, { signal }).catch(
      ignoreOutdated,
    );
    return true;
  }

  #delete(cached: CachedModule, signal: AbortSignal): Promise<ReconcileResult> {
    const writeStatus = async (status: ModuleStatus): Promise<void> => {
      const present = cached.module?.status ?? cached.rawStatus;
      if (!isSameValue(status, present)) await this.#status.apply(cached.metadata, status, signal);
    };
    const services = { ...this.#services, deviceClasses: this.#deviceClasses };
    return deleteModule(services, cached, writeStatus, signal);
  }

  /** Advances each image once. One that fails does not hold up the others. */
  async #advance(
    module: NamedModule,
    { wanted, closely }: { readonly wanted: readonly WantedKernel[]; readonly closely: boolean },
    signal: AbortSignal,
  ): Promise<KernelResult[]> {
    const images = groupByImage(wanted);
    const owner = ownerOf(module);
    const results = await Promise.all(
      images.map((image) => {
        const query = {
          module,
          owner,
          image,
          closely,
          isShared: this.#sharing.isShared(keyOf(module), image),
        };
        return advanceKernels(this.#services, query, signal);
      }),
    );
    return wanted.flatMap((kernel) => {
      const result = results[images.findIndex(({ members }) => members.includes(kernel.group))];
      if (result === undefined) return [];
      return [{ ...kernel, ...(this.#services.managed === true ? waitingForHub(result, kernel) : result) }];
    });
  }

  /**
   * Deletes Jobs that are not needed, once the status has all results. Another operator may have made
   * progress, so nothing is deleted before everything has been read again, bypassing caches.
   * @returns milliseconds until the next Job can be deleted
   */
  async #collectJobs(
    module: NamedModule,
    {
      results,
      advance,
    }: { results: readonly KernelResult[]; advance: (closely: boolean) => Promise<KernelResult[]> },
    signal: AbortSignal,
  ): Promise<number | undefined> {
    const { client, settings, now = Date.now } = this.#services;
    const find = (of: readonly KernelResult[]): JobGarbage =>
      findJobGarbage({
        owned: this.#ownJobs(module.metadata.uid, of),
        work: of.map(({ group, jobs, state }) => ({
          kernel: group.kernel,
          jobs,
          settled: state.phase === 'Ready',
        })),
        gcDelay: settings.gcDelay,
        unusedDelay: settings.unusedDelay,
        now: now(),
      });
    const { garbage, nextAfter } = find(results);
    if (garbage.length === 0) return nextAfter;
    const closer = await advance(true);
    // The new results are not in the status yet.
    if (!closer.every((one, index) => isSameResult(one, results[index]))) return changedPause;
    await confirmModule(client, module, signal);
    const found = find(closer);
    await deleteJobs(client, found.garbage, signal);
    return found.nextAfter;
  }

  #record(module: NamedModule, events: readonly KernelEvent[]): void {
    for (const { succeeded, ...event } of events) {
      this.#services.events.record({ resource: modules, object: module, ...event });
      if (succeeded !== undefined) this.#measure(module.metadata.namespace, succeeded);
    }
  }

  #measure(namespace: string, { kind, job: name }: NonNullable<KernelEvent['succeeded']>): void {
    const job = this.#services.caches.jobs.get({ namespace, name });
    const seconds = (Date.parse(job?.ended ?? '') - Date.parse(job?.created ?? '')) / 1000;
    if (seconds >= 0) this.#services.metrics?.observeJob(kind, seconds);
  }

  #ownJobs(uid: string, results: readonly KernelResult[]): JobFacts[] {
    const { caches, preflights } = this.#services;
    return withoutPreflightJobs(caches.jobs.byIndex('owner', uid), {
      kernels: new Set(results.map(({ group }) => kernelLabelValue(group.kernel))),
      askedFor: requestedKernels(preflights?.validations.list() ?? []),
    });
  }

  /** Reports an invalid Module. What runs is kept. */
  async #reportInvalid(cached: CachedModule, signal: AbortSignal): Promise<ReconcileResult> {
    const { events, now = Date.now } = this.#services;
    const { metadata, problem, rawStatus } = cached;
    // The rest of the status stays as it is.
    const status = { ...cached.status, ...statusOfInvalid(cached, now()) };
    if (isSameValue(status, rawStatus) || !(await this.#status.apply(metadata, status, signal))) return {};
    events.record({ resource: modules, object: { metadata }, ...invalidEvent(problem) });
    return {};
  }
}

function isOutOfDate({ error }: KernelResult): boolean {
  return error instanceof OutOfDate;
}

function throwErrors(results: readonly KernelResult[]): void {
  const errors = results.flatMap(({ error }) => (error === undefined ? [] : [error]));
  const [first, ...others] = errors;
  if (first === undefined) return;
  throw others.length === 0 ? first : new AggregateError(errors, 'several kernels failed');
}
