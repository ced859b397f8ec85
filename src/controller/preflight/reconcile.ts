import type { PreflightStatus, VerifiedModule } from '../../api/preflight-validation.ts';
import type { CachedPreflight } from '../observe/cluster/preflights.ts';
import { preflightValidations } from '../observe/cluster/resources.ts';
import { referencesOf } from '../module/wanted-kernels.ts';
import { type ReconcileResult, soonest } from '../runtime/controller.ts';
import type { ObjectKey } from '../runtime/api/object-key.ts';
import { isSameValue } from '../runtime/same-value.ts';
import { kernelLabelValue } from '../../builder/labels.ts';
import type { Kernel } from '../../builder/kernel.ts';
import { inParallel } from '../../shared/parallel.ts';
import { deleteJobs, findJobGarbage } from '../module/job-garbage.ts';
import { decideValidation, type ValidationAction } from './decide.ts';
import type { ModuleQuery } from './image.ts';
import { findingsOf, moduleEntry, preflightStatusOf, type PreflightReport } from './status.ts';
import {
  modulesToCheck,
  recheckIntervalOf,
  tasksOf,
  type CheckedModule,
  type PreflightContext,
  type PreflightTask,
} from './task.ts';
import type { Verification } from './verification.ts';
import { verifyModule, type ModuleVerification } from './verify-module.ts';

type Result = ModuleVerification & { readonly checked: CheckedModule };

/** Modules checked concurrently: most of the work is waiting for registries. */
const maxConcurrentModules = 64;

const pending: Verification = {
  status: 'InProgress',
  stage: 'Image',
  reason: 'verification is not finished yet',
};

/** Verifies for PreflightValidations whether all Modules would be ready. */
export class PreflightReconciler {
  readonly #context: PreflightContext;

  constructor(context: PreflightContext) {
    this.#context = context;
  }

  /** @throws ApiError */
  async reconcile(key: ObjectKey, signal: AbortSignal): Promise<ReconcileResult> {
    const { preflights, references } = this.#context;
    const cached = preflights.validations.get(key);
    const action = decideValidation(cached, preflights.validations.list());
    if (action.type !== 'verify') references.use({ name: key.name }, []);
    if (cached === undefined || action.type === 'forget') return {};
    if (action.type === 'verify') return this.#verify(cached, action, signal);
    await this.#write(cached, action.report, signal);
    return {};
  }

  async #verify(
    cached: CachedPreflight,
    { validation, task }: Extract<ValidationAction, { type: 'verify' }>,
    signal: AbortSignal,
  ): Promise<ReconcileResult> {
    const { caches, preflights, references } = this.#context;
    const { kernel } = task;
    const tasks = tasksOf(preflights.validations.list());
    const checked = modulesToCheck(caches.modules.list(), kernel);
    references.use({ name: cached.key.name }, checked.flatMap(referencesOfChecked));
    const isNewGeneration = validation.status?.observedGeneration !== validation.metadata.generation;
    const earlier = isNewGeneration ? [] : (validation.status?.modules ?? []);
    // Reading many images takes some time.
    if (isNewGeneration)
      await this.#write(cached, this.#report(task, checked.map(unverified), earlier), signal);
    const results = await this.#verifyAll(checked, { task, tasks, earlier }, signal);
    this.#logErrors(results);
    const isPersisted = await this.#write(cached, this.#report(task, results, earlier), signal);
    const work = results.map((result) => ({
      uid: result.checked.uid,
      jobs: result.jobs,
      settled: isPersisted && result.verification.status === 'Success',
    }));
    const nextGarbage = await collectJobs(this.#context, kernel, work, signal);
    const open = results.filter(({ verification }) => verification.status !== 'Success');
    const recheck = open.length === 0 ? undefined : recheckIntervalOf(this.#context);
    return {
      requeueAfter: soonest([nextGarbage, recheck, ...open.map((one) => one.verification.requeueAfter)]),
    };
  }

  async #verifyAll(
    checked: readonly CheckedModule[],
    common: Pick<ModuleQuery, 'task' | 'tasks'> & { readonly earlier: readonly VerifiedModule[] },
    signal: AbortSignal,
  ): Promise<Result[]> {
    const { task, tasks, earlier } = common;
    const results: Result[] = [];
    const verify = async (one: CheckedModule, index: number, either: AbortSignal): Promise<void> => {
      if (one.result !== undefined) {
        results[index] = { checked: one, verification: one.result, jobs: [] };
        return;
      }
      const { module, target } = one;
      const query = { module, target, task, tasks, earlier: findEntry(earlier, one) };
      results[index] = { checked: one, ...(await verifyModule(this.#context, query, either)) };
    };
    const checks = checked.map((one, index) => (either: AbortSignal) => verify(one, index, either));
    await inParallel(checks, maxConcurrentModules, signal);
    return results;
  }

  #report(
    task: PreflightTask,
    results: readonly Result[],
    earlier: readonly VerifiedModule[],
  ): PreflightReport {
    const now = this.#now();
    const modules = results.map(({ checked, verification }) =>
      moduleEntry(checked.name, verification, findEntry(earlier, checked), now),
    );
    return { modules, findings: findingsOf(task.kernel.release, modules) };
  }

  /** @returns whether the API server already had this status */
  async #write(cached: CachedPreflight, report: PreflightReport, signal: AbortSignal): Promise<boolean> {
    const { metadata, object } = cached;
    const status: PreflightStatus = preflightStatusOf(
      report,
      object?.status,
      metadata.generation,
      this.#now(),
    );
    if (isSameValue(status, object?.status)) return true;
    const applied = { metadata: { name: metadata.name }, status };
    const options = { subresource: 'status', force: true, signal };
    await this.#context.client.apply(preflightValidations, applied, options);
    return false;
  }

  #logErrors(results: readonly Result[]): void {
    for (const { checked, verification } of results) {
      if (verification.error === undefined) continue;
      const { namespace, name } = checked.name;
      this.#context.log.warn('module could not be verified', {
        namespace,
        module: name,
        error: verification.error,
      });
    }
  }

  #now(): string {
    const { now = Date.now } = this.#context;
    return new Date(now()).toISOString();
  }
}

function unverified(checked: CheckedModule): Result {
  return { checked, verification: checked.result ?? pending, jobs: undefined };
}

function findEntry(
  entries: readonly VerifiedModule[],
  { name: { namespace, name } }: CheckedModule,
): VerifiedModule | undefined {
  return entries.find((entry) => entry.namespace === namespace && entry.name === name);
}

function referencesOfChecked(checked: CheckedModule): ReturnType<typeof referencesOf> {
  return checked.result === undefined ? referencesOf(checked.name.namespace, [checked]) : [];
}

/** What is known about a Module's Jobs for the kernel. */
interface PreflightWork {
  /** UID of the Module. */
  readonly uid: string;
  /** Jobs of the current inputs; undefined if unknown or owned by the Module controller. */
  readonly jobs: readonly string[] | undefined;
  /** Whether the Module was verified, and that has been persisted. */
  readonly settled: boolean;
}

/**
 * Deletes the Jobs that are no longer needed, for Modules that have no node with the kernel: the Module
 * controller does it for the others.
 * @returns milliseconds until the next one can be deleted
 */
async function collectJobs(
  { client, caches, settings, now = Date.now }: PreflightContext,
  kernel: Kernel,
  work: readonly PreflightWork[],
  signal: AbortSignal,
): Promise<number | undefined> {
  const label = kernelLabelValue(kernel);
  const delays: number[] = [];
  for (const { uid, jobs, settled } of work) {
    if (jobs === undefined) continue;
    const owned = caches.jobs.byIndex('owner', uid).filter((job) => job.kernel === label);
    const { garbage, nextAfter } = findJobGarbage({
      owned,
      work: [{ kernel, jobs, settled }],
      gcDelay: settings.gcDelay,
      now: now(),
    });
    await deleteJobs(client, garbage, signal);
    if (nextAfter !== undefined) delays.push(nextAfter);
  }
  return soonest(delays);
}
