import { describe, expect, it } from 'vitest';
import {
  describeNodeProblem,
  findNodeProblems,
  problemEvents,
} from '../../../src/controller/module/node-problems.ts';
import { projectPod, type PodFacts } from '../../../src/controller/observe/cluster/projections.ts';
import type { Pod } from '../../../src/controller/observe/cluster/resources.ts';
import { podLabels } from './labels/nodes-and-pods.ts';

/** What a kubelet reports of a pod that is made for a node. */
function podOn(
  node: string,
  status: NonNullable<Pod['status']>,
  more: Partial<Pod['metadata']> = {},
): PodFacts {
  return projectPod({
    metadata: { name: `loader-${node}`, namespace: 'drivers', labels: podLabels({}), ...more },
    spec: {
      containers: [],
      affinity: {
        nodeAffinity: {
          requiredDuringSchedulingIgnoredDuringExecution: {
            nodeSelectorTerms: [{ matchFields: [{ key: 'metadata.name', operator: 'In', values: [node] }] }],
          },
        },
      },
    },
    status,
  });
}

/** The status of a container, with what does not matter. */
function container(state: object, lastState: object = {}): NonNullable<Pod['status']> {
  const common = { name: 'c', image: 'i', imageID: '', restartCount: 1, ready: false };
  return { phase: 'Running', containerStatuses: [{ ...common, state, lastState }] };
}

const waits = {
  waiting: { reason: 'CrashLoopBackOff', message: 'back-off 5m0s restarting failed container' },
};
const rejected = (time: string): NonNullable<Pod['status']> =>
  container(waits, {
    terminated: {
      exitCode: 1,
      reason: 'Error',
      message: [
        "modprobe: ERROR: could not insert 'hello': Key was rejected by service",
        `[ ${time}] Loading of module with unavailable key is rejected`,
        '',
      ].join('\n'),
    },
  });

/** A status that says so in the condition Degraded. */
const degraded = (message: string) => ({
  conditions: [
    {
      type: 'Degraded',
      status: 'True' as const,
      reason: 'LoadFailed',
      message,
      lastTransitionTime: '2026-05-01T12:00:00Z',
    },
  ],
});

describe('problems of nodes', () => {
  it.each<[string, NonNullable<Pod['status']>, Partial<Pod['metadata']>, string, string]>([
    [
      'what modprobe and the kernel said',
      rejected('812.402113'),
      {},
      'LoadFailed',
      "modprobe: ERROR: could not insert 'hello': Key was rejected by service; Loading of module with unavailable key is rejected",
    ],
    [
      'that an image cannot be pulled',
      container({
        waiting: {
          reason: 'ImagePullBackOff',
          message: 'Back-off pulling image "r.example/driver@sha256:c3": not found',
        },
      }),
      {},
      'ImagePullFailed',
      'not found',
    ],
    [
      'that an image of an init container cannot be pulled',
      {
        phase: 'Pending',
        initContainerStatuses: container({ waiting: { reason: 'ErrImagePull', message: 'unauthorized' } })
          .containerStatuses!,
        containerStatuses: container({ waiting: { reason: 'PodInitializing' } }).containerStatuses!,
      },
      {},
      'ImagePullFailed',
      'unauthorized',
    ],
    [
      'that a pod cannot be scheduled',
      {
        phase: 'Pending',
        conditions: [
          {
            type: 'PodScheduled',
            status: 'False',
            reason: 'Unschedulable',
            message: '0/1 nodes are available: Insufficient cpu.',
          },
        ],
      },
      {},
      'Unschedulable',
      '0/1 nodes are available: Insufficient cpu.',
    ],
    [
      'which container has failed without a word',
      { initContainerStatuses: container({ terminated: { exitCode: 1 } }).containerStatuses! },
      {},
      'LoadFailed',
      'container c ended with exit code 1',
    ],
    [
      'that a module could not be unloaded',
      container({
        terminated: {
          exitCode: 1,
          reason: 'Error',
          message: 'modprobe: FATAL: Module hello is in use. (module is in use by gpu_a)\n',
        },
      }),
      { deletionTimestamp: '2026-05-01T12:00:00Z' },
      'UnloadFailed',
      'modprobe: FATAL: Module hello is in use. (module is in use by gpu_a)',
    ],
  ])('say %s', (_title, status, metadata, reason, line) => {
    expect(findNodeProblems([podOn('a', status, metadata)])).toEqual([{ reason, line, nodes: ['a'] }]);
  });

  it.each<[string, NonNullable<Pod['status']>]>([
    ['is starting', container({ waiting: { reason: 'ContainerCreating' } })],
    ['runs', container({ running: {} })],
    ['has ended well', container({ terminated: { exitCode: 0 } })],
    [
      'its node lost when it was switched off',
      container({ terminated: { exitCode: 255, reason: 'Unknown' } }),
    ],
    [
      'starts again after that',
      container(
        { waiting: { reason: 'PodInitializing' } },
        { terminated: { exitCode: 137, reason: 'ContainerStatusUnknown', message: 'could not be located' } },
      ),
    ],
    [
      'is ready after it had failed',
      {
        phase: 'Running',
        containerStatuses: container({ running: {} }, { terminated: { exitCode: 1 } }).containerStatuses!,
        conditions: [{ type: 'Ready', status: 'True' }],
      },
    ],
  ])('do not count a pod that %s', (_title, status) => {
    expect(findNodeProblems([podOn('a', status)])).toEqual([]);
  });

  it.each<[string, string, readonly string[]]>([
    ['before', '2026-05-01T11:59:00Z', []],
    ['after', '2026-05-01T11:59:40Z', ['UnloadFailed']],
  ])('count what failed in a pod %s it was deleted: case %#', (_title, finishedAt, reasons) => {
    const end = { exitCode: 1, reason: 'Error', message: 'no', finishedAt } as object;
    const metadata = { deletionTimestamp: '2026-05-01T12:00:00Z', deletionGracePeriodSeconds: 30 };
    const deleted = podOn('a', container({ running: {} }, { terminated: end }), metadata);
    expect(findNodeProblems([deleted]).map(({ reason }) => reason)).toEqual(reasons);
  });

  it('are grouped where the same was said, however different the times, and three nodes are named', () => {
    const names = ['n1', 'n2', 'n3', 'n4', 'n5'];
    const pods = names.map((name, index) => podOn(name, rejected(`${index}.000000`)));
    const other = container({ waiting: { reason: 'InvalidImageName', message: 'no such name' } });
    const [first, second] = findNodeProblems([podOn('x', other), ...pods]);
    expect(first && describeNodeProblem(first)).toMatch(
      /^5 nodes \(n1, n2, n3 and 2 more\): modprobe: ERROR: /,
    );
    expect(second && describeNodeProblem(second)).toBe('Node x: no such name');
    expect(describeNodeProblem({ reason: 'R', line: 'l', nodes: ['a', 'b', 'c'] })).toBe(
      '3 nodes (a, b, c): l',
    );
  });

  it('become one event when they appear, and none when they spread', () => {
    const problem = { reason: 'LoadFailed', line: 'oh', nodes: ['a'] };
    const wider = { ...problem, nodes: ['a', 'b'] };
    expect(problemEvents(degraded('Node a: oh'), undefined, [problem])).toEqual([
      { type: 'Warning', reason: 'LoadFailed', action: 'Load', note: 'Node a: oh' },
    ]);
    expect(problemEvents(degraded('2 nodes (a, b): oh'), degraded('Node a: oh'), [wider])).toEqual([]);
    expect(problemEvents(degraded('Node a: oh'), degraded('Node a: other'), [problem])).toHaveLength(1);
  });
});
