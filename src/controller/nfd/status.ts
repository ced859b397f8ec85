import * as z from 'zod';
import type { Finding } from '../module/conditions.ts';
import type { KubernetesObject } from '../runtime/api/object-key.ts';

const counter = z.int().catch(0);
const workload = z.looseObject({
  metadata: z.looseObject({ name: z.string(), generation: counter }),
  spec: z.looseObject({ replicas: z.int().optional() }),
  status: z
    .looseObject({
      observedGeneration: counter,
      replicas: counter,
      updatedReplicas: counter,
      availableReplicas: counter,
      desiredNumberScheduled: counter,
      updatedNumberScheduled: counter,
      numberAvailable: counter,
    })
    .optional(),
});

/** How far a Deployment or DaemonSet is. */
interface Progress {
  readonly name: string;
  readonly desired: number;
  readonly available: number;
  readonly isUpToDate: boolean;
}

/** Returns the conditions while NFD is deployed. */
export function findingsOf(workloads: readonly KubernetesObject[], ignored: readonly string[]): Finding[] {
  const all = workloads.map(progressOf);
  const missing = all.filter(({ desired, available, isUpToDate }) => !isUpToDate || available < desired);
  const message = missing.map(describe).join('; ');
  const isReady = missing.length === 0;
  return [
    isReady
      ? { type: 'Available', status: 'True', reason: 'AllAvailable', message: 'All pods are available.' }
      : { type: 'Available', status: 'False', reason: 'PodsNotAvailable', message },
    isReady
      ? { type: 'Progressing', status: 'False', reason: 'AsExpected', message: '' }
      : { type: 'Progressing', status: 'True', reason: 'RollingOut', message },
    { type: 'Degraded', status: 'False', reason: 'AsExpected', message: '' },
    ignoredFinding(ignored),
  ];
}

/** Returns the conditions of a resource that is not followed. */
export function findingsOfProblem(
  reason: string,
  message: string,
  ignored: readonly string[] = [],
): Finding[] {
  return [
    { type: 'Available', status: 'False', reason, message },
    { type: 'Progressing', status: 'False', reason, message },
    { type: 'Degraded', status: 'True', reason, message },
    ignoredFinding(ignored),
  ];
}

function ignoredFinding(ignored: readonly string[]): Finding {
  return ignored.length === 0
    ? { type: 'FieldsIgnored', status: 'False', reason: 'AsExpected', message: '' }
    : { type: 'FieldsIgnored', status: 'True', reason: 'WithoutEffect', message: ignored.join('; ') };
}

function progressOf(object: KubernetesObject): Progress {
  const { metadata, spec, status } = workload.parse(object);
  const { name, generation } = metadata;
  const isCurrent = status !== undefined && status.observedGeneration >= generation;
  if (object.kind === 'Deployment') {
    const desired = spec.replicas ?? 1;
    const { availableReplicas: available = 0, updatedReplicas: updated = 0, replicas = 0 } = status ?? {};
    // Replicas of the former template count as available, too.
    const isUpToDate = isCurrent && updated >= desired && replicas === updated;
    return { name, desired, available, isUpToDate };
  }
  const { desiredNumberScheduled: desired = 0, numberAvailable: available = 0 } = status ?? {};
  return {
    name,
    desired,
    available,
    isUpToDate: isCurrent && (status.updatedNumberScheduled ?? 0) >= desired,
  };
}

function describe({ name, desired, available, isUpToDate }: Progress): string {
  return `${name}: ${available} of ${desired} pods are available${isUpToDate ? '' : ', not all of the present version'}`;
}
