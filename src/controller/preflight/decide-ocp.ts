import type { PreflightStatus } from '../../api/preflight-validation.ts';
import { nonEmpty } from '../../api/schema/resource.ts';
import { shortHash } from '../../builder/names.ts';
import type { CachedPreflight, CachedPreflightOcp } from '../observe/cluster/preflights.ts';
import type { Finding } from '../module/conditions.ts';
import type { Release, ReleaseQuery } from './release.ts';
import { findingsOfProblem } from './status.ts';
import { preflightAnnotations } from './task.ts';

/** The kernel that a PreflightValidationOCP requests to verify. */
export interface RequestedKernel {
  readonly kernel: string;
  readonly driverToolkit: string | undefined;
  readonly push: boolean;
}

/** The content of the status of a PreflightValidationOCP. */
export interface OcpReport {
  readonly findings: readonly Finding[];
  /** The results of the PreflightValidation. */
  readonly results?: Pick<PreflightStatus, 'modules' | 'crStatuses'>;
}

/** What to do for a PreflightValidationOCP. */
export type OcpAction =
  /** It is deleted or being deleted; the validation that it owns is garbage-collected. */
  | { readonly type: 'forget' }
  | { readonly type: 'report'; readonly report: OcpReport }
  /** The kernel is not known yet. The report is written first, once per generation. */
  | { readonly type: 'read-release'; readonly release: ReleaseQuery; readonly report?: OcpReport | undefined }
  /** The PreflightValidation that does the work does not exist, or is for something else. */
  | {
      readonly type: 'create' | 'update';
      readonly requested: RequestedKernel;
      /** Shows what the PreflightValidation was made for. */
      readonly mark: string;
      readonly report: OcpReport;
    };

/**
 * Decides what to do for a PreflightValidationOCP, given the PreflightValidation of its name and, if it was
 * just read, its release.
 */
export function decideOcp(
  cached: CachedPreflightOcp | undefined,
  validation: CachedPreflight | undefined,
  release?: Release,
): OcpAction {
  if (cached === undefined || cached.metadata.deletionTimestamp !== undefined) return { type: 'forget' };
  const { object, problem = '', metadata } = cached;
  if (object === undefined) return reportProblem('InvalidPreflightValidationOCP', problem);
  if (validation !== undefined && !isOwned(validation, cached)) {
    const message = `A PreflightValidation named ${metadata.name} already exists and is not owned by this object. Rename one of them.`;
    return reportProblem('NameTaken', message);
  }
  const requested = requestedKernel(cached, validation, release);
  if (requested === undefined) {
    const { releaseImage = '', useRTKernel = false } = object.spec;
    const isNew = object.status?.observedGeneration !== metadata.generation;
    const report = isNew ? reportWaiting('ReadingRelease', `${releaseImage} is being read`) : undefined;
    return { type: 'read-release', release: { releaseImage, useRTKernel }, report };
  }
  const verifying = reportWaiting('Verifying', `Modules are being verified for kernel ${requested.kernel}`);
  const mark = markOf(cached, requested);
  if (!matches(validation, requested, mark)) {
    return { type: validation === undefined ? 'create' : 'update', requested, mark, report: verifying };
  }
  return { type: 'report', report: reportOf(validation) ?? verifying };
}

/** Returns the requested kernel; undefined if the release has to be read, once per generation. */
function requestedKernel(
  cached: CachedPreflightOcp,
  validation: CachedPreflight | undefined,
  release: Release | undefined,
): RequestedKernel | undefined {
  const { kernelVersion, dtkImage, pushBuiltImage: push = false } = cached.object?.spec ?? {};
  if (kernelVersion !== undefined) return { kernel: kernelVersion, driverToolkit: nonEmpty(dtkImage), push };
  if (release !== undefined) return { ...release, push };
  const kernel = validation?.object?.spec.kernelVersion;
  if (kernel === undefined) return undefined;
  const annotations = validation?.metadata.annotations;
  const known = { kernel, driverToolkit: annotations?.[preflightAnnotations.driverToolkit], push };
  return annotations?.[preflightAnnotations.madeFor] === markOf(cached, known) ? known : undefined;
}

function isOwned({ metadata }: CachedPreflight, owner: CachedPreflightOcp): boolean {
  return metadata.ownerReferences?.some(({ uid }) => uid === owner.metadata.uid) ?? false;
}

function matches(validation: CachedPreflight | undefined, requested: RequestedKernel, mark: string): boolean {
  const annotations = validation?.metadata.annotations;
  const spec = validation?.object?.spec;
  return (
    spec?.kernelVersion === requested.kernel &&
    (spec.pushBuiltImage ?? false) === requested.push &&
    annotations?.[preflightAnnotations.driverToolkit] === requested.driverToolkit &&
    annotations?.[preflightAnnotations.madeFor] === mark
  );
}

/** Returns a hash that is equal for results of the same generation of the same object. */
function markOf({ metadata }: CachedPreflightOcp, { kernel, driverToolkit }: RequestedKernel): string {
  const { uid, generation } = metadata;
  return shortHash({ uid, generation, kernel, driverToolkit });
}

/** Returns the result of a PreflightValidation, or undefined if it has none for its current spec. */
function reportOf(validation: CachedPreflight | undefined): OcpReport | undefined {
  const status = validation?.object?.status;
  if (status === undefined || status.observedGeneration !== validation?.metadata.generation) return undefined;
  const { modules, crStatuses, conditions = [] } = status;
  const findings = conditions.map(({ type, status: is, reason, message }) => ({
    type,
    status: is,
    reason,
    message,
  }));
  return { findings, results: { modules, crStatuses } };
}

function reportWaiting(reason: string, message: string): OcpReport {
  return { findings: [{ type: 'Ready', status: 'False', reason, message }] };
}

function reportProblem(reason: string, message: string): OcpAction {
  return { type: 'report', report: { findings: findingsOfProblem(reason, message) } };
}
