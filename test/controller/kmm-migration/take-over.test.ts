import type { V1DaemonSet } from '@kubernetes/client-node';
import { describe, expect, it } from 'vitest';
import { takeOverDaemonSets } from '../../../src/controller/kmm-migration/take-over.ts';
import type { DaemonSetFacts, PodFacts } from '../../../src/controller/observe/cluster/projections.ts';
import { pod } from '../module/labels/nodes-and-pods.ts';
import { daemonSetOf } from '../module/module-facts.ts';

const domain = 'kmm.node.kubernetes.io';
const kernel = '6.1.0-56-amd64';
const matchLabels = {
  [`${domain}/module.name`]: 'driver',
  [`${domain}/role`]: 'module-loader',
  [`${domain}/kernel-version.full`]: kernel,
};
const ours = `driver-6-1-0-56-amd64-${'a'.repeat(16)}`;

function loader(image = 'r.example/driver:1', more: object = {}): V1DaemonSet {
  const template = { metadata: { labels: matchLabels }, spec: { containers: [{ name: 'a', image }] } };
  return {
    metadata: { namespace: 'drivers', name: ours, labels: matchLabels },
    spec: { selector: { matchLabels: { ...matchLabels, ...more } }, template },
  };
}

/** As KMM 1.x makes them: with a hash of hexadecimal digits, and without labels of applications. */
function ofKmm(changes: Partial<DaemonSetFacts> = {}, labels: object = {}): DaemonSetFacts {
  return daemonSetOf('driver-43809c360a70a3d', { ...matchLabels, ...labels }, changes);
}

function leftPod(changes: Partial<PodFacts> = {}): PodFacts {
  return pod({ module: 'driver', kernel, facts: { ownerName: undefined, ...changes } });
}

function plan(daemonSets: readonly DaemonSetFacts[], pods: readonly PodFacts[] = [], wanted = loader()) {
  const { apply, orphan } = takeOverDaemonSets([wanted], daemonSets, pods);
  return { apply, orphan: orphan.map(({ key }) => key.name), strategy: apply[0]?.spec?.updateStrategy?.type };
}

describe('taking over the DaemonSets of KMM', () => {
  it('deletes theirs without its pods first, and writes ours when it is gone', () => {
    expect(plan([ofKmm()])).toEqual({
      apply: [],
      orphan: ['driver-43809c360a70a3d'],
      strategy: undefined,
    });
    expect(plan([ofKmm({ deleting: true })])).toMatchObject({ apply: [], orphan: [] });
  });

  it('keeps the pods that are left as long as nothing else should run', () => {
    const first = plan([], [leftPod()]);
    expect(first.strategy).toBe('OnDelete');
    const takenOver = first.apply[0]?.metadata?.annotations?.['kmm.sigs.x-k8s.io/taken-over'];
    const present = daemonSetOf(ours, { ...matchLabels, 'app.kubernetes.io/part-of': 'kmm' }, { takenOver });
    expect(plan([present], [leftPod({ ownerName: ours })]).strategy).toBe('OnDelete');
    const changed = plan([present], [leftPod({ ownerName: ours })], loader('r.example/driver:2'));
    expect(changed.strategy).toBeUndefined();
    expect(changed.apply[0]?.metadata?.annotations).toBeUndefined();
  });

  it.each([
    ['there are no pods', []],
    [
      'the pods are for another kernel',
      [pod({ module: 'driver', kernel: '6.2.0', facts: { ownerName: undefined } })],
    ],
    ['the pods are of another Module', [pod({ module: 'other', kernel, facts: { ownerName: undefined } })]],
    ['the pods are of another namespace', [pod({ namespace: 'other', module: 'driver', kernel })]],
    ['the pods end', [leftPod({ deleting: true })]],
    ['the pods are of ours, which was deleted', [leftPod({ ownerName: ours })]],
  ])('writes ours as it is when %s', (_, pods) => {
    expect(plan([], pods).strategy).toBeUndefined();
  });

  it('waits for the device plugin of KMM 2.x too, whose name ends in five characters', () => {
    const labels = { 'app.kubernetes.io/part-of': 'kmm', 'app.kubernetes.io/name': 'kmm' };
    const theirs = daemonSetOf('driver-device-plugin-x7k2p', { ...matchLabels, ...labels });
    expect(plan([theirs]).orphan).toEqual(['driver-device-plugin-x7k2p']);
  });

  it.each([
    ['another kernel', ofKmm({}, { [`${domain}/kernel-version.full`]: '6.2.0' }), loader()],
    ['another version', ofKmm(), loader('r.example/driver:1', { version: 'v2' })],
  ])('leaves one for %s alone', (_, theirs, wanted) => {
    expect(plan([theirs], [], wanted)).toMatchObject({ apply: [wanted], orphan: [] });
  });

  it('never takes ours for one of KMM', () => {
    const labels = { ...matchLabels, 'app.kubernetes.io/part-of': 'kmm' };
    expect(plan([daemonSetOf(ours, labels)])).toMatchObject({ apply: [loader()], orphan: [] });
  });
});
