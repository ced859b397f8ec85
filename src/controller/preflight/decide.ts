import type { PreflightValidation } from '../../api/preflight-validation.ts';
import type { CachedPreflight } from '../observe/cluster/preflights.ts';
import { findingsOf, findingsOfProblem, type PreflightReport } from './status.ts';
import { isKernelRelease, taskFor, type PreflightTask } from './task.ts';

/** What to do for a PreflightValidation. */
export type ValidationAction =
  /** It is deleted or being deleted. */
  | { readonly type: 'forget' }
  /** There is nothing to verify, or another validation does it. */
  | { readonly type: 'report'; readonly report: PreflightReport }
  | { readonly type: 'verify'; readonly validation: PreflightValidation; readonly task: PreflightTask };

/** The most characters of an invalid kernel version that a message quotes. */
const maxQuoted = 100;

/** Decides what to do for a PreflightValidation, given all of them. One per kernel does the work. */
export function decideValidation(
  cached: CachedPreflight | undefined,
  validations: readonly CachedPreflight[],
): ValidationAction {
  if (cached === undefined || cached.metadata.deletionTimestamp !== undefined) return { type: 'forget' };
  const { object: validation, problem = '' } = cached;
  if (validation === undefined) return reportProblem('InvalidPreflightValidation', problem);
  const { kernelVersion } = validation.spec;
  const task = isKernelRelease(kernelVersion) ? taskFor(kernelVersion, validations) : undefined;
  if (task === undefined) {
    const quoted = JSON.stringify(kernelVersion.slice(0, maxQuoted));
    const message = `${quoted} is not what uname -r prints: up to 64 letters, digits and . _ + ~ -`;
    return reportProblem('InvalidKernelVersion', message);
  }
  if (task.leader.key.name === cached.key.name) return { type: 'verify', validation, task };
  return { type: 'report', report: reportOfLeader(task) };
}

/** Copies the result of the validation that does the work, once it has one. */
function reportOfLeader({ kernel, leader: { key, object } }: PreflightTask): PreflightReport {
  const isCurrent = object?.status?.observedGeneration === object?.metadata.generation;
  if (isCurrent) {
    const modules = object?.status?.modules ?? [];
    return { modules, findings: findingsOf(kernel.release, modules) };
  }
  const message = `PreflightValidation ${key.name} is for the same kernel; waiting for its result`;
  return { modules: [], findings: [{ type: 'Ready', status: 'False', reason: 'Verifying', message }] };
}

function reportProblem(reason: string, message: string): ValidationAction {
  return { type: 'report', report: { modules: [], findings: findingsOfProblem(reason, message) } };
}
