import type { PreflightStatus } from '../../api/preflight-validation.ts';
import { KmmError } from '../../shared/errors.ts';
import type { CachedPreflightOcp } from '../observe/cluster/preflights.ts';
import { preflightValidations, preflightValidationsOcp } from '../observe/cluster/resources.ts';
import { toConditions } from '../module/conditions.ts';
import { failureOf } from '../module/kernel-result.ts';
import type { ReconcileResult } from '../runtime/controller.ts';
import type { ObjectKey } from '../runtime/api/object-key.ts';
import { ApiError } from '../runtime/api/errors.ts';
import { isSameValue } from '../runtime/same-value.ts';
import { decideOcp, type OcpAction, type OcpReport } from './decide-ocp.ts';
import { readRelease } from './release.ts';
import { recheckIntervalOf, type PreflightContext, preflightAnnotations } from './task.ts';
import { findingsOfProblem } from './status.ts';

/**
 * Determines the kernel of a PreflightValidationOCP, has it verified by a PreflightValidation of the same
 * name, and reports its result. `decideOcp` decides what to do.
 */
export class PreflightOcpReconciler {
  readonly #context: PreflightContext;

  constructor(context: PreflightContext) {
    this.#context = context;
  }

  /** @throws ApiError */
  async reconcile(key: ObjectKey, signal: AbortSignal): Promise<ReconcileResult> {
    const { preflights, log } = this.#context;
    const cached = preflights.validationsOcp.get(key);
    if (cached === undefined) return {};
    try {
      const validation = preflights.validations.get({ name: key.name });
      const action = decideOcp(cached, validation);
      if (action.type !== 'read-release') await this.#apply(cached, action, signal);
      else {
        if (action.report !== undefined) await this.#report(cached, action.report, signal);
        const release = await readRelease(this.#context, action.release, signal);
        await this.#apply(cached, decideOcp(cached, validation, release), signal);
      }
      return {};
    } catch (error) {
      if (!(error instanceof KmmError) || error instanceof ApiError) throw error;
      const { reason, message } = failureOf(error, undefined).state;
      await this.#report(cached, { findings: findingsOfProblem(reason, message) }, signal);
      log.warn('preflight validation failed', { validation: key.name, error });
      return { requeueAfter: recheckIntervalOf(this.#context) };
    }
  }

  async #apply(cached: CachedPreflightOcp, action: OcpAction, signal: AbortSignal): Promise<void> {
    if (action.type === 'create') await this.#create(cached, action, signal);
    if (action.type === 'update') await this.#update(cached, action, signal);
    if (action.type !== 'forget' && action.report !== undefined) {
      await this.#report(cached, action.report, signal);
    }
  }

  async #create(
    { metadata: { name, uid = '' } }: CachedPreflightOcp,
    { requested, mark }: Extract<OcpAction, { type: 'create' | 'update' }>,
    signal: AbortSignal,
  ): Promise<void> {
    const { driverToolkit, madeFor } = preflightAnnotations;
    const annotations = {
      [madeFor]: mark,
      ...(requested.driverToolkit === undefined ? {} : { [driverToolkit]: requested.driverToolkit }),
    };
    const owner = {
      apiVersion: 'kmm.sigs.x-k8s.io/v1beta2',
      kind: 'PreflightValidationOCP',
      name,
      uid,
      controller: true,
      blockOwnerDeletion: true,
    };
    const metadata = { name, annotations, ownerReferences: [owner] };
    const spec = { kernelVersion: requested.kernel, pushBuiltImage: requested.push };
    await this.#context.client.create(preflightValidations, { metadata, spec }, { signal });
  }

  async #update(
    { metadata: { name } }: CachedPreflightOcp,
    { requested, mark }: Extract<OcpAction, { type: 'create' | 'update' }>,
    signal: AbortSignal,
  ): Promise<void> {
    const { driverToolkit, madeFor } = preflightAnnotations;
    const annotations = { [madeFor]: mark, [driverToolkit]: requested.driverToolkit ?? null };
    const spec = { kernelVersion: requested.kernel, pushBuiltImage: requested.push };
    const patch = { metadata: { annotations }, spec };
    await this.#context.client.patch(preflightValidations, { name }, patch, { signal });
  }

  async #report(
    { metadata: { name, generation }, object }: CachedPreflightOcp,
    { findings, results }: OcpReport,
    signal: AbortSignal,
  ): Promise<void> {
    const { client, now = Date.now } = this.#context;
    const status: PreflightStatus = {
      observedGeneration: generation,
      conditions: toConditions(findings, {
        earlier: object?.status?.conditions,
        generation,
        now: new Date(now()).toISOString(),
      }),
      ...results,
    };
    if (isSameValue(status, object?.status)) return;
    const options = { subresource: 'status', force: true, signal };
    await client.apply(preflightValidationsOcp, { metadata: { name }, status }, options);
  }
}
