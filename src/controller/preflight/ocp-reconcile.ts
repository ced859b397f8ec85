import type { PreflightStatus, PreflightValidationOcp } from '../../api/preflight-validation.ts';
import { nonEmpty } from '../../api/schema/resource.ts';
import { shortHash } from '../../builder/names.ts';
import { KmmError } from '../../shared/errors.ts';
import type { CachedPreflight, CachedPreflightOcp } from '../observe/cluster/preflights.ts';
import { preflightValidations, preflightValidationsOcp } from '../observe/cluster/resources.ts';
import { toConditions, type Finding } from '../module/conditions.ts';
import { failureOf } from '../module/kernel-result.ts';
import type { ReconcileResult } from '../runtime/controller.ts';
import type { ObjectKey } from '../runtime/api/object-key.ts';
import { ApiError } from '../runtime/api/errors.ts';
import { isSameValue } from '../runtime/same-value.ts';
import { readRelease } from './release.ts';
import { recheckIntervalOf, type PreflightServices } from './services.ts';
import { findingsOfProblem } from './status.ts';
import { preflightAnnotations } from './task.ts';

/** What is to be verified. */
interface Wanted {
  readonly kernel: string;
  readonly driverToolkit: string | undefined;
  readonly push: boolean;
}

/** What a status holds besides conditions. */
type Mirrored = Pick<PreflightStatus, 'modules' | 'crStatuses'>;

/**
 * Finds out the kernel of a PreflightValidationOCP, has it verified by a PreflightValidation of the same name, and
 * gives its result as its own.
 */
export class PreflightOcpReconciler {
  readonly #services: PreflightServices;

  constructor(services: PreflightServices) {
    this.#services = services;
  }

  async reconcile(key: ObjectKey, signal: AbortSignal): Promise<ReconcileResult> {
    const { preflights } = this.#services;
    const cached = preflights.validationsOcp.get(key);
    // The validation that it owns is collected with it.
    if (cached === undefined || cached.metadata.deletionTimestamp !== undefined) return {};
    const { object, problem = '' } = cached;
    if (object === undefined) {
      return this.#report(cached, findingsOfProblem('InvalidPreflightValidationOCP', problem), {}, signal);
    }
    const validation = preflights.validations.get({ name: key.name });
    if (validation !== undefined && !isOwned(validation, cached)) {
      const message = `A PreflightValidation named ${key.name} exists that does not belong to this one. Rename one of them.`;
      return this.#report(cached, findingsOfProblem('NameTaken', message), {}, signal);
    }
    try {
      const wanted = await this.#wanted(cached, object, validation, signal);
      if (!isAsWanted(validation, cached, wanted)) {
        await this.#have(validation, cached, wanted, signal);
        return await this.#report(cached, [verifying(wanted.kernel)], {}, signal);
      }
      return await this.#mirror(cached, validation, wanted, signal);
    } catch (error) {
      if (!(error instanceof KmmError) || error instanceof ApiError) throw error;
      const { reason, message } = failureOf(error, undefined).state;
      await this.#report(cached, findingsOfProblem(reason, message), {}, signal);
      this.#services.log.warn('preflight validation failed', { validation: key.name, error });
      return { requeueAfter: recheckIntervalOf(this.#services) };
    }
  }

  /** Release images are read once for each generation. */
  async #wanted(
    cached: CachedPreflightOcp,
    { spec }: PreflightValidationOcp,
    validation: CachedPreflight | undefined,
    signal: AbortSignal,
  ): Promise<Wanted> {
    const { releaseImage, kernelVersion, useRTKernel = false, pushBuiltImage: push = false } = spec;
    if (kernelVersion !== undefined) {
      return { kernel: kernelVersion, driverToolkit: nonEmpty(spec.dtkImage), push };
    }
    const annotations = validation?.metadata.annotations;
    const driverToolkit = annotations?.[preflightAnnotations.driverToolkit];
    const kernel = validation?.object?.spec.kernelVersion;
    const known = kernel === undefined ? undefined : { kernel, driverToolkit, push };
    if (known !== undefined && annotations?.[preflightAnnotations.madeFor] === markOf(cached, known)) {
      return known;
    }
    if (cached.object?.status?.observedGeneration !== cached.metadata.generation) {
      await this.#report(cached, [reading(releaseImage)], {}, signal);
    }
    const release = await readRelease(
      this.#services,
      { releaseImage: releaseImage ?? '', useRTKernel },
      signal,
    );
    return { ...release, push };
  }

  /** Makes or changes the validation that does the work. */
  async #have(
    validation: CachedPreflight | undefined,
    cached: CachedPreflightOcp,
    wanted: Wanted,
    signal: AbortSignal,
  ): Promise<void> {
    const { client } = this.#services;
    const { name, uid = '' } = cached.metadata;
    const mark = { [preflightAnnotations.madeFor]: markOf(cached, wanted) };
    const { driverToolkit } = preflightAnnotations;
    const spec = { kernelVersion: wanted.kernel, pushBuiltImage: wanted.push };
    if (validation !== undefined) {
      const annotations = { ...mark, [driverToolkit]: wanted.driverToolkit ?? null };
      await client.patch(preflightValidations, { name }, { metadata: { annotations }, spec }, { signal });
      return;
    }
    const annotations = {
      ...mark,
      ...(wanted.driverToolkit === undefined ? {} : { [driverToolkit]: wanted.driverToolkit }),
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
    await client.create(preflightValidations, { metadata, spec }, { signal });
  }

  async #mirror(
    cached: CachedPreflightOcp,
    validation: CachedPreflight | undefined,
    { kernel }: Wanted,
    signal: AbortSignal,
  ): Promise<ReconcileResult> {
    const status = validation?.object?.status;
    if (status === undefined || status.observedGeneration !== validation?.metadata.generation) {
      return this.#report(cached, [verifying(kernel)], {}, signal);
    }
    const findings = (status.conditions ?? []).map(({ type, status: is, reason, message }) => ({
      type,
      status: is,
      reason,
      message,
    }));
    const { modules, crStatuses } = status;
    return this.#report(cached, findings, { modules, crStatuses }, signal);
  }

  async #report(
    { metadata, object }: CachedPreflightOcp,
    findings: readonly Finding[],
    mirrored: Mirrored,
    signal: AbortSignal,
  ): Promise<ReconcileResult> {
    const { client, now = Date.now } = this.#services;
    const { name, generation } = metadata;
    const status: PreflightStatus = {
      observedGeneration: generation,
      conditions: toConditions(findings, {
        earlier: object?.status?.conditions,
        generation,
        now: new Date(now()).toISOString(),
      }),
      ...mirrored,
    };
    if (isSameValue(status, object?.status)) return {};
    const options = { subresource: 'status', force: true, signal };
    await client.apply(preflightValidationsOcp, { metadata: { name }, status }, options);
    return {};
  }
}

function isOwned({ metadata }: CachedPreflight, owner: CachedPreflightOcp): boolean {
  return metadata.ownerReferences?.some(({ uid }) => uid === owner.metadata.uid) ?? false;
}

function isAsWanted(
  validation: CachedPreflight | undefined,
  cached: CachedPreflightOcp,
  wanted: Wanted,
): boolean {
  const annotations = validation?.metadata.annotations;
  const spec = validation?.object?.spec;
  return (
    spec?.kernelVersion === wanted.kernel &&
    (spec.pushBuiltImage ?? false) === wanted.push &&
    annotations?.[preflightAnnotations.driverToolkit] === wanted.driverToolkit &&
    annotations?.[preflightAnnotations.madeFor] === markOf(cached, wanted)
  );
}

/** Equal for what one generation of one object gave. */
function markOf({ metadata }: CachedPreflightOcp, { kernel, driverToolkit }: Wanted): string {
  const { uid, generation } = metadata;
  return shortHash({ uid, generation, kernel, driverToolkit });
}

function reading(releaseImage = ''): Finding {
  const message = `${releaseImage} is being read`;
  return { type: 'Ready', status: 'False', reason: 'ReadingRelease', message };
}

function verifying(kernel: string): Finding {
  return {
    type: 'Ready',
    status: 'False',
    reason: 'Verifying',
    message: `Modules are being verified for kernel ${kernel}`,
  };
}
