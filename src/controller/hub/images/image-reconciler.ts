import type { HubImageStatus } from '../../../api/managed-cluster-module.ts';
import { labelKeys } from '../../../builder/labels.ts';
import { labelValue } from '../../../builder/names.ts';
import type { JobFacts } from '../../observe/cluster/projections.ts';
import type { Job } from '../../observe/cluster/resources.ts';
import type { ImageState } from '../../image-pipeline/request.ts';
import { deleteJobs, findGarbage, type JobGarbage } from '../../module/job-garbage.ts';
import { kernelEvents, type KernelEvent } from '../../module/kernel-events.ts';
import { tryAdvance, type ImageResult } from '../../module/kernel-result.ts';
import { referencesOf } from '../../module/wanted-kernels.ts';
import { OutOfDate } from '../../module/named-module.ts';
import { objectOf, type CacheEvent } from '../../runtime/cache/informer.ts';
import { type ReconcileResult, soonest } from '../../runtime/controller.ts';
import type { ObjectKey } from '../../runtime/api/object-key.ts';
import type { ImageTracker } from './image-tracker.ts';
import type { ImageWork } from './image-work.ts';
import {
  decideCollection,
  decideImage,
  isJobNews,
  isPersistedIn,
  outOfDatePause,
  type ImageCheck,
} from './image-decisions.ts';
import type { JobSlots } from './job-slots.ts';
import { managedClusterModules } from '../fleet/managed-cluster-modules.ts';
import type { CachedManagedClusterModule } from '../fleet/managed-cluster-modules.ts';
import { UserConfirmation } from './user-confirmation.ts';
import type { HubContext } from '../fleet/caches.ts';

/** The label that names a Job's Kueue queue. */
const kueueLabel = 'kueue.x-k8s.io/queue-name';
/** The longest wait for ManagedClusterModules to register their images, in milliseconds. */
const startTimeout = 60_000;

/** Makes the images of a fleet ready, each once, however many ManagedClusterModules use it. */
export class ImageReconciler {
  readonly #context: HubContext;
  readonly #tracker: ImageTracker;
  readonly #slots: JobSlots;
  readonly #confirmation: UserConfirmation;
  readonly #onOutcome: (users: readonly ObjectKey[]) => void;
  /** The Jobs that are being created, by image. */
  readonly #creating = new Map<string, string>();
  #hasStarted = false;
  /** When to start at the latest, in milliseconds since 1970. */
  #startBy: number | undefined;

  /** @param onOutcome called with the ManagedClusterModules of an image that has changed */
  constructor(
    context: HubContext,
    tracker: ImageTracker,
    slots: JobSlots,
    onOutcome: (users: readonly ObjectKey[]) => void,
  ) {
    this.#context = context;
    this.#tracker = tracker;
    this.#slots = slots;
    this.#confirmation = new UserConfirmation(context.client);
    this.#onOutcome = onOutcome;
  }

  /** Returns whether a change of a Job may matter to its image. */
  isNews(event: CacheEvent<JobFacts>): boolean {
    const { image = '' } = objectOf(event);
    return isJobNews(event, {
      latest: this.#tracker.latest(image)?.state,
      creating: this.#creating.get(image),
    });
  }

  /** @throws why the work failed, if a retry may help */
  async reconcile(key: ObjectKey, signal: AbortSignal): Promise<ReconcileResult> {
    try {
      return await this.#reconcile(key, signal);
    } finally {
      this.#creating.delete(key.name);
    }
  }

  async #reconcile(key: ObjectKey, signal: AbortSignal): Promise<ReconcileResult> {
    const { references, namespace } = this.#context;
    const id = key.name;
    const work = this.#tracker.work(id);
    references.use(key, work === undefined ? [] : referencesOf(namespace, [work.request]));
    const isUsed = work !== undefined;
    if (!isUsed) this.#slots.leave(id);
    const action = decideImage({
      isUsed,
      isComplete: !isUsed && this.#isComplete(),
      mayStart: isUsed && this.#mayStart(),
    });
    if (action === 'collect') return this.#collectUnused(id, signal);
    if (action === 'wait') return { requeueAfter: outOfDatePause };
    if (action === 'keep' || work === undefined) return {};
    const result = await this.#advance(id, work, { uncached: false, signal });
    signal.throwIfAborted();
    if (result.error instanceof OutOfDate) return { requeueAfter: outOfDatePause };
    const before = this.#tracker.latest(id)?.state ?? this.#persisted(work)[0];
    const isNew = this.#tracker.record(id, work, result);
    if (isNew === undefined) return {};
    this.#recordEvents(work, result.state, before);
    if (isNew) this.#onOutcome([...work.users, ...work.conflicting].map(({ name }) => ({ name })));
    if (result.error !== undefined) throw result.error;
    const nextAfter = await this.#collect(id, work, { result, signal });
    return { requeueAfter: soonest([nextAfter, result.state.requeueAfter]) };
  }

  /** Deletes the Jobs of an image that nothing uses, once it has been unused long enough. */
  async #collectUnused(id: string, signal: AbortSignal): Promise<ReconcileResult> {
    const { caches, client } = this.#context;
    const { garbage, nextAfter } = this.#garbage(id, undefined);
    if (garbage.length > 0) await deleteJobs(client, garbage, signal);
    return caches.jobs.byIndex('image', id).length > 0 ? { requeueAfter: nextAfter } : {};
  }

  /** Deletes Jobs that are not needed. @returns milliseconds until the next can be deleted */
  async #collect(
    id: string,
    work: ImageWork,
    { result, signal }: { readonly result: ImageResult; readonly signal: AbortSignal },
  ): Promise<number | undefined> {
    const check = (found: ImageResult): ImageCheck => {
      const settled = found.state.phase === 'Ready' && this.#isPersisted(work, found.state);
      return { result: found, garbage: this.#garbage(id, { jobs: found.jobs, settled }) };
    };
    const situation = { cached: check(result), isPersisted: this.#isPersisted(work, result.state) };
    let action = decideCollection(situation);
    if (action.type === 'check-uncached') {
      const uncached = await this.#advance(id, work, { uncached: true, signal });
      action = decideCollection({ ...situation, uncached: check(uncached) });
    }
    if (action.type === 'delete') {
      await this.#confirm(work, signal);
      await deleteJobs(this.#context.client, action.garbage, signal);
    }
    return action.requeueAfter;
  }

  #garbage(id: string, work: ReturnType<Parameters<typeof findGarbage>[1]>): JobGarbage {
    const { caches, settings, now = Date.now } = this.#context;
    const owned = caches.jobs.byIndex('image', id);
    return findGarbage({ owned, gcDelay: settings.gcDelay, now: now() }, () => work);
  }

  async #advance(
    id: string,
    work: ImageWork,
    { uncached, signal }: { readonly uncached: boolean; readonly signal: AbortSignal },
  ): Promise<ImageResult> {
    const { namespace } = this.#context;
    let requested: string | undefined;
    const admit = (job: Job): Job | undefined => {
      requested = job.metadata.name;
      const admitted = this.#admit(id, work, job);
      if (admitted !== undefined) this.#creating.set(id, requested);
      return admitted;
    };
    const confirm = (): Promise<void> => this.#confirm(work, signal);
    // The persisted state counts, not the one in memory: another hub may have continued from there.
    const [earlier] = this.#persisted(work);
    const request = { ...work.request, namespace, earlier, confirm };
    const result = await tryAdvance({ ...this.#context, admit }, { request, closely: uncached }, signal);
    if (requested === undefined) this.#slots.leave(id);
    else if (result.state.job !== requested) this.#slots.release(requested);
    return result;
  }

  #confirm({ users, request }: ImageWork, signal: AbortSignal): Promise<void> {
    const query = { users: users.flatMap(({ uid }) => this.#cached(uid)), image: request.target.image };
    return this.#confirmation.confirm(query, signal);
  }

  #admit(id: string, work: ImageWork, job: Job): Job | undefined {
    const { queue } = this.#context;
    if ('kueueQueue' in queue) {
      const labelled = withLabels(job, { [labelKeys.image]: id, [kueueLabel]: queue.kueueQueue });
      return { ...labelled, spec: Object.assign({}, job.spec, { suspend: true }) };
    }
    const module = labelValue(work.request.target.module.name);
    const isGranted = this.#slots.acquire({ image: id, module, job: job.metadata.name });
    return isGranted ? withLabels(job, { [labelKeys.image]: id }) : undefined;
  }

  /** Returns the entry for the image in the status of each ManagedClusterModule that uses it. */
  #persisted({ users, request }: ImageWork): HubImageStatus[] {
    return users.flatMap((user) =>
      this.#cached(user.uid).flatMap(({ images }) => images.get(request.target.image) ?? []),
    );
  }

  #cached(uid: string): CachedManagedClusterModule[] {
    return this.#context.caches.managedClusterModules.byIndex('uid', uid);
  }

  /** Returns whether the state is persisted in the status of all. */
  #isPersisted(work: ImageWork, state: ImageState): boolean {
    return isPersistedIn(this.#persisted(work), state, work.users.length);
  }

  /**
   * Returns whether work may start. It depends on everything that uses an image. Later ones may change it, but
   * at first nothing starts before all existing ones have registered, or the wait has timed out.
   */
  #mayStart(): boolean {
    const { now = Date.now } = this.#context;
    this.#startBy ??= now() + startTimeout;
    this.#hasStarted ||= this.#isComplete() || now() > this.#startBy;
    return this.#hasStarted;
  }

  #isComplete(): boolean {
    return this.#context.caches.managedClusterModules
      .list()
      .every(
        ({ metadata, resource }) =>
          resource === undefined ||
          metadata.deletionTimestamp !== undefined ||
          this.#tracker.isRegistered(metadata.uid ?? ''),
      );
  }

  #recordEvents(work: ImageWork, state: ImageState, earlier: ImageState | HubImageStatus | undefined): void {
    const { kernel } = work.request.target;
    const before = earlier === undefined ? undefined : { reason: undefined, job: undefined, ...earlier };
    for (const { succeeded, ...event } of kernelEvents({ group: { kernel }, state }, before)) {
      for (const { uid } of work.users) {
        for (const object of this.#cached(uid)) {
          this.#context.events.record({ resource: managedClusterModules, object, ...event });
        }
      }
      if (succeeded !== undefined) this.#observeDuration(succeeded);
    }
  }

  #observeDuration({ kind, job: name }: NonNullable<KernelEvent['succeeded']>): void {
    const { caches, namespace, metrics } = this.#context;
    const job = caches.jobs.get({ namespace, name });
    const seconds = (Date.parse(job?.ended ?? '') - Date.parse(job?.created ?? '')) / 1000;
    if (seconds >= 0) metrics?.observeJob(kind, seconds);
  }
}

function withLabels(job: Job, labels: Readonly<Record<string, string>>): Job {
  return { ...job, metadata: { ...job.metadata, labels: { ...job.metadata.labels, ...labels } } };
}
