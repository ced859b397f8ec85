import { describe, expect, it } from 'vitest';
import type { Pod } from '../../../../src/controller/observe/cluster/resources.ts';
import { projectPod } from '../../../../src/controller/observe/cluster/projections.ts';

/** A pod as the API server has it: its container was started at 12:00. */
function podWith(ready: readonly ['True' | 'False', string], changes: object): Pod {
  const [status, lastTransitionTime] = ready;
  const running = { startedAt: '2026-05-01T12:00:00Z' };
  const container = { name: 'c', image: 'i', imageID: '', restartCount: 0, ready: false, state: { running } };
  return {
    metadata: { name: 'p', namespace: 'n' },
    status: {
      conditions: [{ type: 'Ready', status, lastTransitionTime }],
      containerStatuses: [{ ...container, ...changes }],
    },
  } as unknown as Pod;
}

const [before, after] = ['2026-05-01T11:59:58Z', '2026-05-01T13:00:00Z'];

describe('a pod is', () => {
  it.each<[string, Pod, boolean]>([
    ['ready where its kubelet says so', podWith(['True', after], { ready: true, started: true }), true],
    [
      'ready while a kubelet that began anew has not probed it',
      podWith(['False', after], { started: false }),
      true,
    ],
    ['not ready before its first probe has passed', podWith(['False', before], { started: false }), false],
    ['not ready when its probe fails', podWith(['False', after], { started: true }), false],
    [
      'not ready when its container has ended',
      podWith(['False', after], {
        started: false,
        state: { terminated: { exitCode: 255, reason: 'Unknown' } },
      }),
      false,
    ],
  ])('%s', (_title, pod, ready) => {
    expect(projectPod(pod).ready).toBe(ready);
  });
});
