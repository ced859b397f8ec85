import * as z from 'zod';
import type { CustomResource } from '../observe/cluster/resources.ts';
import { formatKey } from '../runtime/api/object-key.ts';

/** Something that is wrong, in the words of the object that says so. */
export interface Problem {
  /** Kind and name. */
  readonly object: string;
  readonly message: string;
}

const condition = z.looseObject({
  type: z.string(),
  status: z.string(),
  reason: z.string().catch(''),
  message: z.string().catch(''),
});
const conditions = z.array(condition).catch([]);
const text = z.string().catch('');

/** Conditions that are good when they are true; others are good when they are false. */
const goodWhenTrue = new Set([
  'Ready',
  'Available',
  'Applied',
  'Established',
  'NamesAccepted',
  'ManagedClusterConditionAvailable',
  'ManagedClusterJoined',
  'HubAcceptedManagedCluster',
]);
/** Conditions that say what goes on, or repeat others. */
const neutral = new Set([
  'Progressing',
  'FailureTarget',
  'ManagedClusterConditionClockSynced',
  'NonStructuralSchema',
]);

/** Names an object as the summary does. */
export function nameOf({ kind = 'Object', metadata }: CustomResource): string {
  return `${kind} ${formatKey(metadata)}`;
}

/** Returns what an object's conditions say is wrong. */
export function conditionProblems(object: CustomResource): Problem[] {
  const bad = conditionsOf(object).filter(({ type, status }) => isBad(type, status));
  return bad.map(({ type, status, reason, message }) => ({
    object: nameOf(object),
    message: `${type} is ${status}${reason === '' ? '' : ` (${reason})`}: ${message === '' ? 'no message' : message}`,
  }));
}

/** Returns the conditions of an object. */
export function conditionsOf({ status }: CustomResource): z.output<typeof conditions> {
  return z.looseObject({ conditions }).safeParse(status ?? {}).data?.conditions ?? [];
}

function isBad(type: string, status: string): boolean {
  if (neutral.has(type)) return false;
  return goodWhenTrue.has(type) ? status !== 'True' : status === 'True' && !isSuccess(type);
}

/** Job conditions that report success. */
function isSuccess(type: string): boolean {
  return [
    'Complete',
    'SuccessCriteriaMet',
    'ReplicaFailureCleared',
    'KubernetesAPIApprovalPolicyConformant',
  ].includes(type);
}

const ownStatus = z
  .looseObject({
    kernels: z
      .array(z.looseObject({ kernelVersion: text, phase: text, reason: text, message: text, job: text }))
      .catch([]),
    images: z
      .array(z.looseObject({ image: text, phase: text, reason: text, message: text, job: text }))
      .catch([]),
    clusters: z.array(z.looseObject({ name: text, phase: text, reason: text, message: text })).catch([]),
    modules: z
      .array(z.looseObject({ name: text, namespace: text, verificationStatus: text, statusReason: text }))
      .catch([]),
  })
  .partial()
  .catch({});

/** Returns what the parts of a status of ours say: kernels, images, clusters, and Modules that were verified. */
export function ownProblems(object: CustomResource): Problem[] {
  const name = nameOf(object);
  if (object.status === undefined)
    return [{ object: name, message: 'has no status: no operator has seen it' }];
  const { kernels = [], images = [], clusters = [], modules = [] } = ownStatus.parse(object.status);
  const messages = [
    ...failed(kernels).map(
      (one) => `kernel ${one.kernelVersion}: ${one.reason}: ${one.message}${job(one.job)}`,
    ),
    ...failed(images).map((one) => `image ${one.image}: ${one.reason}: ${one.message}${job(one.job)}`),
    ...clusters
      .filter(({ phase }) => phase === 'Failed' || phase === 'Degraded')
      .map((one) => `cluster ${one.name}: ${one.phase}: ${one.reason}: ${one.message}`),
    ...modules
      .filter(({ verificationStatus }) => ['False', 'Failure'].includes(verificationStatus))
      .map((one) => `Module ${one.namespace}/${one.name} is not verified: ${one.statusReason}`),
  ];
  return messages.map((message) => ({ object: name, message }));
}

function failed<T extends { readonly phase: string }>(list: readonly T[]): readonly T[] {
  return list.filter(({ phase }) => phase === 'Failed');
}

function job(name: string): string {
  return name === '' ? '' : ` (Job ${name})`;
}
