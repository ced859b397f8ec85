import type { PreflightStatus, PreflightValidation, VerifiedModule } from '../../api/preflight-validation.ts';
import type { CachedPreflight } from '../observe/cluster/preflights.ts';
import { preflightValidations } from '../observe/cluster/resources.ts';
import type { Finding } from '../module/conditions.ts';
import { referencesOf } from '../module/wanted-kernels.ts';
import { type ReconcileResult, soonest } from '../runtime/controller.ts';
import type { ObjectKey } from '../runtime/api/object-key.ts';
import { isSameValue } from '../runtime/same-value.ts';
import { collectJobs } from './garbage.ts';
import { recheckIntervalOf, type PreflightServices } from './services.ts';
import { findingsOf, findingsOfProblem, moduleEntry, preflightStatusOf } from './status.ts';
import { isKernelRelease, taskFor, tasksOf, type PreflightTask } from './task.ts';
import type { Verification } from './verification.ts';
import { verifyModule, type ModuleVerification } from './verify-module.ts';
import { wantedModules, type WantedModule } from './wanted.ts';

type Result = ModuleVerification & { readonly wanted: WantedModule };

/** What is written of a look at all Modules. */
interface Report {
  readonly modules: readonly VerifiedModule[];
  readonly findings: readonly Finding[];
}

const notYet: Verification = {
  status: 'InProgress',
  stage: 'Image',
  reason: 'verification is not finished yet',
};

/** Finds out for PreflightValidations whether all Modules would be ready. */
export class PreflightReconciler {
  readonly #services: PreflightServices;

  constructor(services: PreflightServices) {
    this.#services = services;
  }

  async reconcile(key: ObjectKey, signal: AbortSignal): Promise<ReconcileResult> {
    const { preflights, references } = this.#services;
    const cached = preflights.validations.get(key);
    const task = cached && taskOf(cached, preflights.validations.list());
    if (cached === undefined || task === undefined || task.leader.key.name !== key.name) {
      references.use({ name: key.name }, []);
    }
    if (cached === undefined || cached.metadata.deletionTimestamp !== undefined) return {};
    const { object, problem = '' } = cached;
    if (object === undefined)
      return this.#reportProblem(cached, 'InvalidPreflightValidation', problem, signal);
    if (task === undefined) {
      const kernel = JSON.stringify(object.spec.kernelVersion.slice(0, 100));
      const message = `${kernel} is not what uname -r prints: up to 64 letters, digits and . _ + ~ -`;
      return this.#reportProblem(cached, 'InvalidKernelVersion', message, signal);
    }
    if (task.leader.key.name !== key.name) return this.#follow(cached, task, signal);
    return this.#verify(cached, object, task, signal);
  }

  async #verify(
    cached: CachedPreflight,
    validation: PreflightValidation,
    task: PreflightTask,
    signal: AbortSignal,
  ): Promise<ReconcileResult> {
    const { caches, preflights, references } = this.#services;
    const { kernel } = task;
    const tasks = tasksOf(preflights.validations.list());
    const wanted = wantedModules(caches.modules.list(), kernel);
    references.use({ name: cached.key.name }, wanted.flatMap(referencesOfWanted));
    const isNews = validation.status?.observedGeneration !== validation.metadata.generation;
    const earlier = isNews ? [] : (validation.status?.modules ?? []);
    // Looking into many images takes its time.
    if (isNews) await this.#write(cached, this.#report(task, wanted.map(unverified), earlier), signal);
    const results = await Promise.all(
      wanted.map(async (one): Promise<Result> => {
        if (one.verdict !== undefined) return { wanted: one, verification: one.verdict, jobs: [] };
        const query = {
          module: one.module,
          target: one.target,
          task,
          tasks,
          earlier: findEntry(earlier, one),
        };
        return { wanted: one, ...(await verifyModule(this.#services, query, signal)) };
      }),
    );
    this.#logErrors(results);
    const isPersisted = await this.#write(cached, this.#report(task, results, earlier), signal);
    const work = results.map((result) => ({
      uid: result.wanted.uid,
      jobs: result.jobs,
      settled: isPersisted && result.verification.status === 'Success',
    }));
    const nextGarbage = await collectJobs(this.#services, { kernel, work }, signal);
    const open = results.filter(({ verification }) => verification.status !== 'Success');
    const recheck = open.length === 0 ? undefined : recheckIntervalOf(this.#services);
    return {
      requeueAfter: soonest([nextGarbage, recheck, ...open.map((one) => one.verification.requeueAfter)]),
    };
  }

  /** Another validation asks about the same kernel, and does the work. */
  async #follow(cached: CachedPreflight, task: PreflightTask, signal: AbortSignal): Promise<ReconcileResult> {
    const { object } = task.leader;
    const isCurrent = object?.status?.observedGeneration === object?.metadata.generation;
    const modules = (isCurrent ? object?.status?.modules : undefined) ?? [];
    const message = `PreflightValidation ${task.leader.key.name} asks about the same kernel; its result is waited for`;
    const waiting: Finding = { type: 'Ready', status: 'False', reason: 'Verifying', message };
    const findings = isCurrent ? findingsOf(task.kernel.release, modules) : [waiting];
    await this.#write(cached, { modules, findings }, signal);
    return {};
  }

  #report(task: PreflightTask, results: readonly Result[], earlier: readonly VerifiedModule[]): Report {
    const now = this.#now();
    const modules = results.map(({ wanted, verification }) =>
      moduleEntry({ module: wanted.name, verification }, { earlier: findEntry(earlier, wanted), now }),
    );
    return { modules, findings: findingsOf(task.kernel.release, modules) };
  }

  async #reportProblem(
    cached: CachedPreflight,
    reason: string,
    message: string,
    signal: AbortSignal,
  ): Promise<ReconcileResult> {
    await this.#write(cached, { modules: [], findings: findingsOfProblem(reason, message) }, signal);
    return {};
  }

  /** @returns whether the API server had this status already */
  async #write(cached: CachedPreflight, report: Report, signal: AbortSignal): Promise<boolean> {
    const { metadata, object } = cached;
    const status: PreflightStatus = preflightStatusOf({
      ...report,
      earlier: object?.status,
      generation: metadata.generation,
      now: this.#now(),
    });
    if (isSameValue(status, object?.status)) return true;
    const applied = { metadata: { name: metadata.name }, status };
    const options = { subresource: 'status', force: true, signal };
    await this.#services.client.apply(preflightValidations, applied, options);
    return false;
  }

  #logErrors(results: readonly Result[]): void {
    for (const { wanted, verification } of results) {
      if (verification.error === undefined) continue;
      const { namespace, name } = wanted.name;
      this.#services.log.warn('module could not be verified', {
        namespace,
        module: name,
        error: verification.error,
      });
    }
  }

  #now(): string {
    const { now = Date.now } = this.#services;
    return new Date(now()).toISOString();
  }
}

function taskOf(
  { object }: CachedPreflight,
  validations: readonly CachedPreflight[],
): PreflightTask | undefined {
  const release = object?.spec.kernelVersion;
  return release !== undefined && isKernelRelease(release) ? taskFor(release, validations) : undefined;
}

function unverified(wanted: WantedModule): Result {
  return { wanted, verification: wanted.verdict ?? notYet, jobs: undefined };
}

function findEntry(
  entries: readonly VerifiedModule[],
  { name: { namespace, name } }: WantedModule,
): VerifiedModule | undefined {
  return entries.find((entry) => entry.namespace === namespace && entry.name === name);
}

function referencesOfWanted(wanted: WantedModule): ReturnType<typeof referencesOf> {
  return wanted.verdict === undefined ? referencesOf(wanted.name.namespace, [wanted]) : [];
}
