import { describe, expect, it } from 'vitest';
import {
  nextUnloadingStep,
  type UnloadingFacts,
} from '../../../../src/controller/module/loading/plan-unloading.ts';
import type { DaemonSetFacts, PodFacts } from '../../../../src/controller/observe/cluster/projections.ts';
import { pod } from '../labels/nodes-and-pods.ts';
import { daemonSetOf } from '../module-facts.ts';

const roleLabel = 'kmm.node.kubernetes.io/role';
const deletedAt = Date.parse('2026-05-01T12:00:00Z');

function daemonSet(role: string, changes: Partial<DaemonSetFacts> = {}): DaemonSetFacts {
  return daemonSetOf(
    role,
    { [roleLabel]: role },
    { loaderInputs: 'inputs', desired: 3, available: 3, ...changes },
  );
}

const pluginName = 'a-device-plugin-ppxkfxcoqflt5wt5';
const loader = daemonSet('module-loader');
const unloading = daemonSet('module-loader', { unloads: true, updated: 3 });
const plugin = daemonSet('device-plugin', { loaderInputs: undefined });

function step(changes: Partial<UnloadingFacts>) {
  const facts = {
    deletedAt,
    now: deletedAt + 1000,
    timeout: 60_000,
    annotations: {},
    daemonSets: [],
    pods: [],
  };
  return nextUnloadingStep({ ...facts, ...changes });
}

describe('a Module that is being deleted', () => {
  it('ends its DRA driver before its loaders unload', () => {
    const driver = daemonSet('dra', { loaderInputs: undefined });
    const pods = [pod({ role: 'dra', facts: { ownerName: 'a-dra-ppxkfxcoqflt5wt5' } }), pod()];
    expect(step({ daemonSets: [loader, driver], pods })).toMatchObject({ remove: [driver], unload: [] });
    expect(step({ daemonSets: [loader], pods })).toMatchObject({ remove: [], unload: [] });
  });

  it('ends its device plugin first, and waits until its pods are gone', () => {
    // As Kubernetes leaves it for a while when its DaemonSet is gone.
    const pods = [pod({ role: 'device-plugin', facts: { ownerName: pluginName } }), pod()];
    expect(step({ daemonSets: [loader, plugin], pods })).toEqual({
      type: 'wait',
      remove: [plugin],
      unload: [],
      message: 'Waiting for 1 pods that use the module to end',
      remaining: 59_000,
    });
    expect(step({ daemonSets: [loader, { ...plugin, deleting: true }], pods })).toMatchObject({
      remove: [],
      unload: [],
    });
    expect(step({ daemonSets: [loader], pods })).toMatchObject({ remove: [], unload: [] });
  });

  it('waits for the pods of its DaemonSets only, and for what ends anyway', () => {
    const left = (facts: Partial<PodFacts>): unknown =>
      step({ daemonSets: [loader], pods: [pod({ role: 'device-plugin', facts })] });
    const waits = { unload: [], message: 'Waiting for 1 pods that use the module to end' };
    expect(left({ ownerName: 'other' })).toMatchObject({ unload: [loader] });
    expect(left({ ownerName: 'other', deleting: true })).toMatchObject(waits);
    expect(left({ ownerName: pluginName })).toMatchObject(waits);
  });

  it('then has its loaders unload', () => {
    expect(step({ daemonSets: [loader], pods: [pod()] })).toMatchObject({
      type: 'wait',
      remove: [],
      unload: [loader],
      message: 'The module is being unloaded from 3 nodes',
    });
  });

  it.each<[string, Partial<DaemonSetFacts>]>([
    ['the change was not seen yet', { isObserved: false, desired: 0, updated: 0, available: 0 }],
    ['a node still has the pod that had loaded the module', { updated: 2 }],
    ['a pod could not unload', { available: 2 }],
  ])('is held while %s', (_title, changes) => {
    expect(step({ daemonSets: [{ ...unloading, ...changes }] })).toMatchObject({
      type: 'wait',
      remove: [],
      unload: [],
    });
  });

  it('is released once all nodes are clean, or if there are none', () => {
    const clean = { type: 'release', reason: 'clean', nodes: 0 };
    expect(step({ daemonSets: [unloading] })).toEqual(clean);
    expect(step({ daemonSets: [{ ...unloading, desired: 0, updated: 0, available: 0 }] })).toEqual(clean);
    expect(step({})).toEqual(clean);
  });

  it('is released when it was held long enough, or at once where an annotation says so', () => {
    const daemonSets = [{ ...unloading, available: 1 }];
    expect(step({ daemonSets, now: deletedAt + 60_000 })).toEqual({
      type: 'release',
      reason: 'timedOut',
      nodes: 2,
    });
    const annotations = { 'kmm.sigs.x-k8s.io/skip-unload': 'true' };
    expect(step({ daemonSets, annotations })).toEqual({ type: 'release', reason: 'skipped', nodes: 2 });
  });

  it('deletes loaders that cannot report that they have unloaded', () => {
    const old = { ...loader, loaderInputs: undefined };
    expect(step({ daemonSets: [old] })).toMatchObject({ type: 'wait', remove: [old], unload: [] });
    expect(step({ daemonSets: [{ ...old, deleting: true }] })).toMatchObject({
      type: 'wait',
      remove: [],
      unload: [],
    });
  });
});
