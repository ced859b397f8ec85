import type { V1ContainerState } from '@kubernetes/client-node';
import type { Pod } from '../../../src/controller/observe/cluster/resources.ts';

/** What the kubelet knows about a container. Times are strings, as in JSON. */
export interface ContainerRecord {
  readonly name: string;
  readonly image: string;
  state: State;
  lastState: State;
  ready: boolean;
  restartCount: number;
}

interface Terminated {
  readonly exitCode: number;
  readonly reason: string;
  readonly message: string | undefined;
  readonly startedAt: string;
  readonly finishedAt: string;
}

/** A container's state as in its JSON. */
export interface State {
  readonly waiting?: V1ContainerState['waiting'];
  readonly running?: { readonly startedAt: string };
  readonly terminated?: Terminated;
}

/** The phase that follows from the containers' states. */
export type Phase = 'Pending' | 'Running' | 'Succeeded' | 'Failed';

/** Returns the record of a container that has not started. */
export function newRecord({ name, image = '' }: { name: string; image?: string }): ContainerRecord {
  const state = { waiting: { reason: 'ContainerCreating' } };
  return { name, image, state, lastState: {}, ready: false, restartCount: 0 };
}

/** Computes the phase of a pod (Pod Lifecycle, "Pod phase"). */
export function phaseOf({
  initial,
  main,
  restarts,
  ended,
}: {
  initial: readonly ContainerRecord[];
  main: readonly ContainerRecord[];
  restarts: boolean;
  ended: boolean;
}): Phase {
  const exitCodes = main.map(({ state }) => state.terminated?.exitCode);
  if (ended) return exitCodes.every((code) => code === 0) ? 'Succeeded' : 'Failed';
  if (!restarts) {
    if (initial.some(({ state }) => (state.terminated?.exitCode ?? 0) !== 0)) return 'Failed';
    if (exitCodes.every((code) => code !== undefined)) {
      return exitCodes.every((code) => code === 0) ? 'Succeeded' : 'Failed';
    }
  }
  const hasStarted = main.some(
    ({ state, lastState }) => (state.running ?? state.terminated ?? lastState.terminated) !== undefined,
  );
  return hasStarted ? 'Running' : 'Pending';
}

/** Builds a pod's status to write. */
export function statusOf(
  pod: Pod,
  options: {
    readonly initial: readonly ContainerRecord[];
    readonly main: readonly ContainerRecord[];
    readonly restarts: boolean;
    readonly startTime: string;
    /** Whether it was deleted and none of its containers is running any more. */
    readonly ended: boolean;
  },
): { readonly phase: Phase } {
  const { initial, main, startTime } = options;
  const phase = phaseOf(options);
  const isReady = main.every(({ ready }) => ready);
  const isInitialized = initial.every(({ state }) => state.terminated?.exitCode === 0);
  const condition = (type: string, holds: boolean): object => {
    const status = holds ? 'True' : 'False';
    const before = pod.status?.conditions?.find((one) => one.type === type);
    const same = before?.status === status;
    const lastTransitionTime = same ? before.lastTransitionTime : new Date().toISOString();
    return { type, status, lastTransitionTime };
  };
  const status = {
    phase,
    startTime,
    hostIP: '127.0.0.1',
    podIP: '127.0.0.1',
    podIPs: [{ ip: '127.0.0.1' }],
    conditions: [
      ...(pod.status?.conditions ?? []).filter(
        ({ type }) =>
          !['Initialized', 'Ready', 'ContainersReady', 'PodReadyToStartContainers'].includes(type),
      ),
      condition('Initialized', isInitialized),
      condition('Ready', isReady),
      condition('ContainersReady', isReady),
    ],
    initContainerStatuses: initial.map(containerStatus),
    containerStatuses: main.map(containerStatus),
  };
  return status;
}

function containerStatus(record: ContainerRecord): object {
  const { name, image, state, restartCount } = record;
  const containerID = `test://${name}-${restartCount}`;
  return {
    ...record,
    imageID: image,
    started: state.running !== undefined,
    ...(state.waiting === undefined ? { containerID } : {}),
  };
}
