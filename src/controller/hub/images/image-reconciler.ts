import type { HubImageStatus } from '../../../api/managed-cluster-module.ts';
import { labelKeys } from '../../../builder/labels.ts';
import { labelValue } from '../../../builder/names.ts';
import type { Job } from '../../observe/cluster/resources.ts';
import type { ImageState } from '../../image-pipeline/request.ts';
import { deleteJobs, findGarbage, type JobGarbage } from '../../module/job-garbage.ts';
import { kernelEvents, type KernelEvent } from '../../module/kernel-events.ts';
import { tryAdvance, type ImageResult } from '../../module/kernel-result.ts';
import { referencesOf } from '../../module/wanted-kernels.ts';
import { OutOfDate } from '../../module/named-module.ts';
import { type ReconcileResult, soonest } from '../../runtime/controller.ts';
import type { ObjectKey } from '../../runtime/api/object-key.ts';
import type { ImageBoard } from './image-tracker.ts';
import type { ImageWork } from './image-work.ts';
import {
  decideCollection,
  decideImage,
  isPersistedIn,
  outOfDatePause,
  type ImageLook,
} from './image-decisions.ts';
import type { JobSlots } from './job-slots.ts';
import { managedClusterModules } from '../fleet/managed-cluster-modules.ts';
import type { CachedManagedClusterModule } from '../fleet/managed-cluster-modules.ts';
import { confirmUsers } from './image-statuses.ts';
import type { HubContext } from '../fleet/caches.ts';

/** The label that names a Job's Kueue queue. */
const kueueLabel = 'kueue.x-k8s.io/queue-name';
/** The longest wait for ManagedClusterModules that have not registered what they want, in milliseconds. */
const maxPatience = 60_000;

export interface ImageReconcilerOptions {
  readonly services: HubContext;
  readonly board: ImageBoard;
  readonly slots: JobSlots;
  /** Called with the ManagedClusterModules of an image that has changed. */
  readonly onOutcome: (users: readonly ObjectKey[]) => void;
}

/** Makes the images of a fleet ready, each once, whoever wants it. */
export class ImageReconciler {
  readonly #options: ImageReconcilerOptions;
  #hasHeardAll = false;
  /** When to begin at the latest, in milliseconds since 1970. */
  #patience: number | undefined;

  constructor(options: ImageReconcilerOptions) {
    this.#options = options;
  }

  /** @throws why the work failed, if a retry may help */
  async reconcile(key: ObjectKey, signal: AbortSignal): Promise<ReconcileResult> {
    const { services, board, slots } = this.#options;
    const { references, namespace } = services;
    const id = key.name;
    const work = board.work(id);
    references.use(key, work === undefined ? [] : referencesOf(namespace, [work.request]));
    const isWanted = work !== undefined;
    if (!isWanted) slots.leave(id);
    const action = decideImage({
      isWanted,
      isComplete: !isWanted && this.#isComplete(),
      mayBegin: isWanted && this.#mayBegin(),
    });
    if (action === 'collect') return this.#collectUnwanted(id, signal);
    if (action === 'wait') return { requeueAfter: outOfDatePause };
    if (action === 'leave' || work === undefined) return {};
    const result = await this.#advance(id, work, { closely: false, signal });
    signal.throwIfAborted();
    if (result.error instanceof OutOfDate) return { requeueAfter: outOfDatePause };
    const before = board.last(id)?.state ?? this.#persisted(work)[0];
    const isNews = board.put(id, work, result);
    if (isNews === undefined) return {};
    this.#tell(work, result.state, before);
    if (isNews) this.#options.onOutcome([...work.users, ...work.others].map(({ name }) => ({ name })));
    if (result.error !== undefined) throw result.error;
    const nextAfter = await this.#collect(id, work, { result, signal });
    return { requeueAfter: soonest([nextAfter, result.state.requeueAfter]) };
  }

  /** Deletes the Jobs of an image that nobody wants, once they have been unwanted long enough. */
  async #collectUnwanted(id: string, signal: AbortSignal): Promise<ReconcileResult> {
    const { caches, client } = this.#options.services;
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
    const look = (found: ImageResult): ImageLook => {
      const settled = found.state.phase === 'Ready' && this.#isPersisted(work, found.state);
      return { result: found, garbage: this.#garbage(id, { jobs: found.jobs, settled }) };
    };
    const facts = { first: look(result), isPersisted: this.#isPersisted(work, result.state) };
    let action = decideCollection(facts);
    if (action.type === 'look-closely') {
      const closer = await this.#advance(id, work, { closely: true, signal });
      action = decideCollection({ ...facts, closer: look(closer) });
    }
    if (action.type === 'delete') {
      await this.#confirm(work, signal);
      await deleteJobs(this.#options.services.client, action.garbage, signal);
    }
    return action.requeueAfter;
  }

  #garbage(id: string, work: ReturnType<Parameters<typeof findGarbage>[1]>): JobGarbage {
    const { caches, settings, now = Date.now } = this.#options.services;
    const owned = caches.jobs.byIndex('image', id);
    return findGarbage({ owned, gcDelay: settings.gcDelay, now: now() }, () => work);
  }

  async #advance(
    id: string,
    work: ImageWork,
    { closely, signal }: { readonly closely: boolean; readonly signal: AbortSignal },
  ): Promise<ImageResult> {
    const { services, slots } = this.#options;
    const { namespace } = services;
    let asked: string | undefined;
    const admit = (job: Job): Job | undefined => {
      asked = job.metadata.name;
      return this.#admit(id, work, job);
    };
    const confirm = (): Promise<void> => this.#confirm(work, signal);
    // The persisted state counts, not the one in memory: another hub may have continued from there.
    const [earlier] = this.#persisted(work);
    const request = { ...work.request, namespace, earlier, confirm };
    const result = await tryAdvance({ ...services, admit }, { request, closely }, signal);
    if (asked === undefined) slots.leave(id);
    else if (result.state.job !== asked) slots.giveBack(asked);
    return result;
  }

  #confirm({ users, request }: ImageWork, signal: AbortSignal): Promise<void> {
    const query = { users: users.flatMap(({ uid }) => this.#cached(uid)), image: request.target.image };
    return confirmUsers(this.#options.services.client, query, signal);
  }

  #admit(id: string, work: ImageWork, job: Job): Job | undefined {
    const { services, slots } = this.#options;
    const { queue } = services;
    if ('kueueQueue' in queue) {
      const labelled = withLabels(job, { [labelKeys.image]: id, [kueueLabel]: queue.kueueQueue });
      return { ...labelled, spec: Object.assign({}, job.spec, { suspend: true }) };
    }
    const module = labelValue(work.request.target.module.name);
    const isGranted = slots.take({ image: id, module, job: job.metadata.name });
    return isGranted ? withLabels(job, { [labelKeys.image]: id }) : undefined;
  }

  /** Returns the entry for the image in the status of each ManagedClusterModule that wants it. */
  #persisted({ users, request }: ImageWork): HubImageStatus[] {
    return users.flatMap((user) =>
      this.#cached(user.uid).flatMap(({ images }) => images.get(request.target.image) ?? []),
    );
  }

  #cached(uid: string): CachedManagedClusterModule[] {
    return this.#options.services.caches.managedClusterModules.byIndex('uid', uid);
  }

  /** Returns whether the state is persisted in the status of all. */
  #isPersisted(work: ImageWork, state: ImageState): boolean {
    return isPersistedIn(this.#persisted(work), state, work.users.length);
  }

  /**
   * Returns whether work may begin. It depends on what everyone wants of an image. Later ones may change it,
   * but after a start nothing begins before all existing ones have registered, or the wait has timed out.
   */
  #mayBegin(): boolean {
    const { now = Date.now } = this.#options.services;
    this.#patience ??= now() + maxPatience;
    this.#hasHeardAll ||= this.#isComplete() || now() > this.#patience;
    return this.#hasHeardAll;
  }

  #isComplete(): boolean {
    const { services, board } = this.#options;
    return services.caches.managedClusterModules
      .list()
      .every(
        ({ metadata, resource }) =>
          resource === undefined ||
          metadata.deletionTimestamp !== undefined ||
          board.knows(metadata.uid ?? ''),
      );
  }

  #tell(work: ImageWork, state: ImageState, earlier: ImageState | HubImageStatus | undefined): void {
    const { services } = this.#options;
    const { kernel } = work.request.target;
    const before = earlier === undefined ? undefined : { reason: undefined, job: undefined, ...earlier };
    for (const { succeeded, ...event } of kernelEvents({ group: { kernel }, state }, before)) {
      for (const { uid } of work.users) {
        for (const object of this.#cached(uid)) {
          services.events.record({ resource: managedClusterModules, object, ...event });
        }
      }
      if (succeeded !== undefined) this.#measure(succeeded);
    }
  }

  #measure({ kind, job: name }: NonNullable<KernelEvent['succeeded']>): void {
    const { caches, namespace, metrics } = this.#options.services;
    const job = caches.jobs.get({ namespace, name });
    const seconds = (Date.parse(job?.ended ?? '') - Date.parse(job?.created ?? '')) / 1000;
    if (seconds >= 0) metrics?.observeJob(kind, seconds);
  }
}

function withLabels(job: Job, labels: Readonly<Record<string, string>>): Job {
  return { ...job, metadata: { ...job.metadata, labels: { ...job.metadata.labels, ...labels } } };
}
