import * as z from 'zod';
import type { CustomResource } from '../observe/cluster/resources.ts';
import { conditionsOf, nameOf, type Problem } from './problems.ts';

const text = z.string().catch('');
const count = z.number().catch(0);
const workload = z.looseObject({
  replicas: count,
  availableReplicas: count,
  desiredNumberScheduled: count,
  numberAvailable: count,
});

/** Returns whether a Deployment or DaemonSet has fewer pods than it should have. */
export function workloadProblems(object: CustomResource): Problem[] {
  const parsed = workload.safeParse(object.status ?? {}).data;
  const {
    replicas = 0,
    availableReplicas = 0,
    desiredNumberScheduled = 0,
    numberAvailable = 0,
  } = parsed ?? {};
  const [desired, available] = [replicas + desiredNumberScheduled, availableReplicas + numberAvailable];
  return available < desired
    ? [{ object: nameOf(object), message: `${available} of ${desired} pods are available` }]
    : [];
}

const ended = z.looseObject({ exitCode: count, reason: text, message: text }).optional().catch(undefined);
const container = z.looseObject({
  name: text,
  restartCount: count,
  state: z
    .looseObject({
      waiting: z.looseObject({ reason: text, message: text }).optional().catch(undefined),
      terminated: ended,
    })
    .catch({}),
  lastState: z.looseObject({ terminated: ended }).catch({}),
});
const containers = z.array(container).catch([]);
const podStatus = z.looseObject({ initContainerStatuses: containers, containerStatuses: containers });
/** Why containers wait that will start. */
const starting = new Set(['ContainerCreating', 'PodInitializing', '']);

/** Returns why a pod is not scheduled, or its containers do not run. */
export function podProblems(object: CustomResource): Problem[] {
  const unscheduled = conditionsOf(object).filter(
    ({ type, status }) => type === 'PodScheduled' && status === 'False',
  );
  const { initContainerStatuses = [], containerStatuses = [] } =
    podStatus.safeParse(object.status ?? {}).data ?? {};
  const messages = unscheduled.map(({ reason, message }) => `is not scheduled: ${reason}: ${message}`);
  for (const { name, restartCount, state, lastState } of [...initContainerStatuses, ...containerStatuses]) {
    const { waiting, terminated } = state;
    const end = terminated ?? lastState.terminated;
    if (waiting !== undefined && !starting.has(waiting.reason)) {
      messages.push(`container ${name} waits: ${waiting.reason}: ${waiting.message}`);
    }
    if (end !== undefined && end.exitCode !== 0) {
      messages.push(
        `container ${name} ended with exit code ${end.exitCode} (${end.reason}), restarts: ${restartCount}: ${end.message.trim()}`,
      );
    }
  }
  return messages.map((message) => ({ object: nameOf(object), message }));
}
