import type { PreflightStatus, VerifiedModule } from '../../api/preflight-validation.ts';
import type { ModuleName } from '../../builder/labels.ts';
import { toConditions, type Finding } from '../module/conditions.ts';
import type { Verification } from './verification.ts';

/** The longest reason in characters: all of them together have to fit into one object. */
const maxReasonLength = 1000;

/** Returns the entry of a Module. Its time is kept if its result is the same. */
export function moduleEntry(
  { namespace, name }: ModuleName,
  verification: Verification,
  earlier: VerifiedModule | undefined,
  now: string,
): VerifiedModule {
  const { status, stage, reason, image, digest, unsignedDigest, inputs, job, verified } = verification;
  const isSame = earlier?.verificationStatus === status && earlier.verificationStage === stage;
  return {
    namespace,
    name,
    verificationStatus: status,
    verificationStage: stage,
    statusReason: reason.slice(0, maxReasonLength),
    lastTransitionTime: isSame ? earlier.lastTransitionTime : now,
    image,
    digest,
    unsignedDigest,
    inputs,
    job,
    verified,
  };
}

/** The content of the status of a validation. */
export interface PreflightReport {
  readonly modules: readonly VerifiedModule[];
  readonly findings: readonly Finding[];
}

/**
 * Returns the status of a validation. Times are kept if nothing changed: equal states are equal texts.
 * @param now RFC 3339
 */
export function preflightStatusOf(
  { modules, findings }: PreflightReport,
  earlier: PreflightStatus | undefined,
  generation: number | undefined,
  now: string,
): PreflightStatus {
  return {
    observedGeneration: generation,
    conditions: toConditions(findings, { earlier: earlier?.conditions, generation, now }),
    modules: modules.toSorted((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1)),
    crStatuses: namedStatuses(modules),
  };
}

/** Returns the entries as in v1beta1: by `NAMESPACE/NAME`, and by the name alone if it is unique. */
function namedStatuses(modules: readonly VerifiedModule[]): NonNullable<PreflightStatus['crStatuses']> {
  const names = modules.map(({ name }) => name);
  return Object.fromEntries(
    modules.flatMap((module) => {
      const { name, verificationStatus, verificationStage, statusReason, lastTransitionTime } = module;
      const status = {
        verificationStatus: verificationStatus === 'Success' ? ('True' as const) : ('False' as const),
        verificationStage,
        statusReason,
        lastTransitionTime,
      };
      const isUnique = names.filter((other) => other === name).length === 1;
      return [nameOf(module), ...(isUnique ? [name] : [])].map((key) => [key, status] as const);
    }),
  );
}

/** Returns the findings about all Modules together. */
export function findingsOf(kernel: string, modules: readonly VerifiedModule[]): Finding[] {
  const failures = modules.filter(({ verificationStatus }) => verificationStatus === 'Failure');
  const waiting = modules.filter(({ verificationStatus }) => verificationStatus === 'InProgress');
  const failure = failures.length === 0 ? undefined : summary(failures, modules, 'would not be ready');
  const progress = waiting.length === 0 ? undefined : summary(waiting, modules, 'are not verified yet');
  const isWorking = progress !== undefined;
  const verified = `All ${modules.length} Modules would be ready for kernel ${kernel}`;
  return [
    failure === undefined && progress === undefined
      ? { type: 'Ready', status: 'True', reason: 'Verified', message: verified }
      : {
          type: 'Ready',
          status: 'False',
          reason: failure === undefined ? 'Verifying' : 'VerificationFailed',
          message: failure ?? progress ?? '',
        },
    {
      type: 'Progressing',
      status: isWorking ? 'True' : 'False',
      reason: isWorking ? 'Verifying' : 'Settled',
      message: progress ?? 'There is nothing to do',
    },
    {
      type: 'Degraded',
      status: failure === undefined ? 'False' : 'True',
      reason: failure === undefined ? 'AsExpected' : 'VerificationFailed',
      message: failure ?? 'Nothing has failed',
    },
  ];
}

/** Returns the findings if nothing can be verified. */
export function findingsOfProblem(reason: string, message: string): Finding[] {
  return [
    { type: 'Ready', status: 'False', reason, message },
    { type: 'Progressing', status: 'False', reason, message },
    { type: 'Degraded', status: 'True', reason, message },
  ];
}

function summary(some: readonly VerifiedModule[], all: readonly VerifiedModule[], what: string): string {
  const [first] = some;
  const example = first === undefined ? '' : `: ${nameOf(first)}: ${first.statusReason ?? ''}`;
  return `${some.length} of ${all.length} Modules ${what}${example}`;
}

function nameOf({ namespace, name }: ModuleName): string {
  return `${namespace}/${name}`;
}
