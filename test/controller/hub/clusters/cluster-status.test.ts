import { describe, expect, it } from 'vitest';
import { projectManifestWork } from '../../../../src/controller/hub/fleet/manifest-works.ts';
import { workStatus } from '../../../../src/controller/hub/clusters/cluster-status.ts';

interface Story {
  readonly conditions?: object[];
  readonly manifest?: object[];
  readonly feedback?: Readonly<Record<string, string | number>>;
}

/** A ManifestWork of generation 2, as an agent reports on it. */
function status({ conditions = [applied], manifest = [], feedback = {} }: Story): object {
  const values = Object.entries(feedback).map(([name, value]) => ({
    name,
    fieldValue:
      typeof value === 'number' ? { type: 'Integer', integer: value } : { type: 'String', string: value },
  }));
  const work = {
    metadata: { namespace: 'cluster-1', name: 'driver', generation: 2 },
    spec: {},
    status: {
      conditions,
      resourceStatus: { manifests: [{ conditions: manifest, statusFeedback: { values } }] },
    },
  };
  return workStatus(projectManifestWork(work));
}

const applied = { type: 'Applied', status: 'True', observedGeneration: 2 };
const counters = { 'moduleLoader.availableNumber': 2, 'moduleLoader.desiredNumber': 2 };

describe('the status of a cluster by its ManifestWork', () => {
  it('is Applying until the agent has applied the current spec', () => {
    expect(status({ conditions: [] })).toMatchObject({ phase: 'Applying', applied: false });
    expect(status({ conditions: [{ ...applied, observedGeneration: 1 }] })).toMatchObject({
      phase: 'Applying',
      applied: false,
    });
  });

  it('is Failed with the reason of the manifest when the agent cannot', () => {
    expect(
      status({
        conditions: [
          { ...applied, status: 'False', reason: 'AppliedManifestWorkFailed', message: 'Failed to apply' },
        ],
        manifest: [
          { type: 'Applied', status: 'False', reason: 'AppliedManifestFailed', message: 'forbidden' },
        ],
      }),
    ).toMatchObject({
      phase: 'Failed',
      reason: 'AppliedManifestFailed',
      message: 'forbidden',
      applied: false,
    });
  });

  it('follows the conditions of the Module', () => {
    const waits = { 'ready.status': 'False', 'ready.reason': 'NodesNotReady', 'ready.message': '1 of 2' };
    expect(status({ feedback: { ...counters, ...waits } })).toEqual({
      phase: 'Applied',
      reason: 'NodesNotReady',
      message: '1 of 2',
      manifestWork: 'driver',
      applied: true,
      degraded: false,
      availableNumber: 2,
      desiredNumber: 2,
    });
    expect(status({ feedback: { 'ready.status': 'True' } })).toMatchObject({ phase: 'Ready' });
    const broken = { 'ready.status': 'False', 'degraded.status': 'True', 'degraded.reason': 'PullFailed' };
    expect(status({ feedback: broken })).toMatchObject({
      phase: 'Degraded',
      reason: 'PullFailed',
      applied: true,
      degraded: true,
    });
  });

  it('ignores conditions of an earlier generation of the Module', () => {
    const old = { 'ready.status': 'True', generation: 4, observedGeneration: 3 };
    expect(status({ feedback: old })).toMatchObject({ phase: 'Applied', reason: 'WaitingForOperator' });
    expect(status({ feedback: { ...old, observedGeneration: 4 } })).toMatchObject({ phase: 'Ready' });
  });

  it('counts nodes if the operator sets no conditions, as KMM does not', () => {
    expect(status({})).toMatchObject({ phase: 'Applied', reason: 'NoFeedback' });
    expect(status({ feedback: counters })).toMatchObject({ phase: 'Ready' });
    expect(status({ feedback: { ...counters, 'moduleLoader.availableNumber': 1 } })).toMatchObject({
      phase: 'Applied',
      message: '1 of 2 nodes have the kernel module',
    });
  });

  it.each([
    undefined,
    7,
    { conditions: 7, resourceStatus: 'x' },
    { resourceStatus: { manifests: [null] } },
    { resourceStatus: { manifests: [{ statusFeedback: { values: [{ name: 1 }] } }] } },
  ])('tolerates feedback such as %j', (hostile) => {
    const work = { metadata: { namespace: 'cluster-1', name: 'driver' }, spec: {}, status: hostile };
    expect(workStatus(projectManifestWork(work))).toMatchObject({ phase: 'Applying' });
  });

  it.each([2 ** 31, -1, 1.5, 1e300])('omits counts that a status cannot represent, such as %d', (count) => {
    const feedback = { 'moduleLoader.availableNumber': count, 'moduleLoader.desiredNumber': 3 };
    expect(status({ feedback })).not.toHaveProperty('availableNumber');
    expect(status({ feedback })).toMatchObject({ desiredNumber: 3, phase: 'Applied', reason: 'NoFeedback' });
  });

  it('limits the length of texts', () => {
    const long = 'x'.repeat(1_000_000);
    const { message } = status({ feedback: { 'ready.status': 'False', 'ready.message': long } }) as {
      message: string;
    };
    expect(message.length).toBeLessThanOrEqual(512);
  });
});
