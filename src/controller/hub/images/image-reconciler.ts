import type { HubImageStatus } from '../../../api/managed-cluster-module.ts';
import { labelKeys } from '../../../builder/labels.ts';
import { labelValue } from '../../../builder/names.ts';
import type { Job } from '../../observe/cluster/resources.ts';
import type { ImageState } from '../../image-pipeline/image-state.ts';
import { deleteJobs, findGarbage, type JobGarbage } from '../../module/job-garbage.ts';
import { kernelEvents, type KernelEvent } from '../../module/kernel-events.ts';
import { isSameResult, tryAdvance, type ImageResult } from '../../module/kernel-result.ts';
import { referencesOf } from '../../module/wanted-kernels.ts';
import { OutOfDate } from '../../module/named-module.ts';
import { type ReconcileResult, soonest } from '../../runtime/controller.ts';
import type { ObjectKey } from '../../runtime/api/object-key.ts';
import type { ImageBoard } from './image-board.ts';
import type { ImageWork } from './image-work.ts';
import type { JobSlots } from './job-slots.ts';
import { managedClusterModules } from '../fleet/resources.ts';
import type { CachedManagedClusterModule } from '../fleet/cached-managed-cluster-module.ts';
import { confirmUsers } from './image-statuses.ts';
import type { HubContext } from '../fleet/caches.ts';

/** The label by which Kueue finds its Jobs. */
const kueueLabel = 'kueue.x-k8s.io/queue-name';
/** Milliseconds until the cache should have what the API server has. */
const outOfDatePause = 200;
/** Milliseconds for which those are waited for who have not said what they want. */
const maxPatience = 60_000;

export interface ImageReconcilerOptions {
  readonly services: HubContext;
  readonly board: ImageBoard;
  readonly slots: JobSlots;
  /** Told of ManagedClusterModules one of whose images has changed. */
  readonly onOutcome: (users: readonly ObjectKey[]) => void;
}

/** Brings the images of a fleet to where they should be: each once, whoever wants it. */
export class ImageReconciler {
  readonly #options: ImageReconcilerOptions;
  #hasHeardAll = false;
  /** When to begin at the latest, in milliseconds since 1970. */
  #patience: number | undefined;

  constructor(options: ImageReconcilerOptions) {
    this.#options = options;
  }

  /** @throws what made the work fail and may pass: come again */
  async reconcile(key: ObjectKey, signal: AbortSignal): Promise<ReconcileResult> {
    const { services, board, slots } = this.#options;
    const { references, namespace } = services;
    const id = key.name;
    const work = board.work(id);
    references.use(key, work === undefined ? [] : referencesOf(namespace, [work.request]));
    if (work === undefined) {
      slots.leave(id);
      return this.#collectUnwanted(id, signal);
    }
    if (!this.#mayBegin()) return { requeueAfter: outOfDatePause };
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

  /** Before all have said what they want, nobody knows what is not wanted. */
  async #collectUnwanted(id: string, signal: AbortSignal): Promise<ReconcileResult> {
    const { caches, client } = this.#options.services;
    if (!this.#isComplete()) return {};
    const { garbage, nextAfter } = this.#garbage(id, undefined);
    if (garbage.length > 0) await deleteJobs(client, garbage, signal);
    return caches.jobs.byIndex('image', id).length > 0 ? { requeueAfter: nextAfter } : {};
  }

  /**
   * Deletes Jobs that are not needed, once what they did stands in every status. Another hub may know better, so
   * nothing is deleted before everything has been asked for anew.
   * @returns milliseconds until the next can go
   */
  async #collect(
    id: string,
    work: ImageWork,
    { result, signal }: { readonly result: ImageResult; readonly signal: AbortSignal },
  ): Promise<number | undefined> {
    const { client } = this.#options.services;
    const workOf = ({ jobs, state }: ImageResult) => ({ jobs, settled: this.#isSettled(work, state) });
    const { garbage, nextAfter } = this.#garbage(id, workOf(result));
    if (garbage.length === 0 || !this.#isPersisted(work, result.state)) return nextAfter;
    const closer = await this.#advance(id, work, { closely: true, signal });
    // What was found out just now does not stand in any status yet.
    if (!isSameResult(closer, result)) return outOfDatePause;
    const found = this.#garbage(id, workOf(closer));
    await this.#confirm(work, signal);
    await deleteJobs(client, found.garbage, signal);
    return found.nextAfter;
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
    // What stands in the status counts, and not what is remembered: another hub may have gone on from there.
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

  /** What the status of each ManagedClusterModule that wants the image says of it. */
  #persisted({ users, request }: ImageWork): HubImageStatus[] {
    return users.flatMap((user) =>
      this.#cached(user.uid).flatMap(({ images }) => images.get(request.target.image) ?? []),
    );
  }

  #cached(uid: string): CachedManagedClusterModule[] {
    return this.#options.services.caches.managedClusterModules.byIndex('uid', uid);
  }

  /** Whether the image is ready, and all have persisted that. */
  #isSettled(work: ImageWork, state: ImageState): boolean {
    return state.phase === 'Ready' && this.#isPersisted(work, state);
  }

  /** Whether what was found out stands in the status of all. */
  #isPersisted(work: ImageWork, { phase, digest, inputs }: ImageState): boolean {
    const persisted = this.#persisted(work);
    return (
      persisted.length === work.users.length &&
      persisted.every((one) => one.phase === phase && one.digest === digest && one.inputs === inputs)
    );
  }

  /**
   * What is done to an image follows from what all want of it. Who comes later may change that; but after a start,
   * nothing begins before all have been heard that were there before, or one of them does not speak up.
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
