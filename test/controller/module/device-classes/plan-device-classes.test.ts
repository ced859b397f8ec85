import { describe, expect, it } from 'vitest';
import type { DeviceClassSpec } from '../../../../src/api/module/spec.ts';
import type { CachedDeviceClass } from '../../../../src/controller/module/device-classes/device-class-cache.ts';
import {
  deviceClassLabels,
  planDeviceClasses,
} from '../../../../src/controller/module/device-classes/plan-device-classes.ts';

const module = { namespace: 'drivers', name: 'gpu' };
const selectors = [{ cel: { expression: "device.driver == 'gpu.example'" } }];
const config = [{ opaque: { driver: 'gpu.example', parameters: { mode: 'fast', depth: 2 } } }];

function classOf(name: string, changes: Partial<CachedDeviceClass> = {}): CachedDeviceClass {
  const labels = deviceClassLabels(module);
  return { name, uid: `uid-of-${name}`, resourceVersion: '1', labels, selectors, config, ...changes };
}

function plan(wanted: readonly DeviceClassSpec[], present: readonly CachedDeviceClass[]): unknown {
  const { create, change, remove, foreign } = planDeviceClasses(module, wanted, present);
  return {
    create: create.map(({ name }) => name),
    change: change.map((one) => one.present.name),
    remove: remove.map(({ name }) => name),
    foreign,
  };
}

const nothing = { create: [], change: [], remove: [], foreign: [] };
const wanted = { name: 'gpu', selectors, config };

describe('the DeviceClasses of a Module', () => {
  it('are created, and left alone once they are as wanted', () => {
    expect(plan([wanted], [])).toEqual({ ...nothing, create: ['gpu'] });
    expect(plan([wanted], [classOf('gpu')])).toEqual(nothing);
    expect(plan([{ name: 'gpu' }], [classOf('gpu', { selectors: [], config: [] })])).toEqual(nothing);
  });

  it.each<[string, Partial<CachedDeviceClass>]>([
    ['selectors', { selectors: [] }],
    ['configuration', { config: [{ opaque: { driver: 'gpu.example', parameters: {} } }] }],
    [
      'labels, as those of KMM have',
      {
        labels: {
          'kmm.node.kubernetes.io/module.name': 'gpu',
          'kmm.node.kubernetes.io/module.namespace': 'drivers',
        },
      },
    ],
  ])('are changed where they have other %s', (_title, changes) => {
    expect(plan([wanted], [classOf('gpu', changes)])).toEqual({ ...nothing, change: ['gpu'] });
  });

  it('are deleted once they are not wanted', () => {
    expect(plan([], [classOf('gpu'), classOf('old')])).toEqual({ ...nothing, remove: ['gpu', 'old'] });
    expect(plan([wanted], [classOf('gpu'), classOf('old')])).toEqual({ ...nothing, remove: ['old'] });
  });

  it.each([
    ['nobody', {}],
    ['another Module', deviceClassLabels({ namespace: 'drivers', name: 'other' })],
    ['a Module of that name elsewhere', deviceClassLabels({ namespace: 'elsewhere', name: 'gpu' })],
  ])('are never those of %s', (_title, labels) => {
    expect(plan([wanted], [classOf('gpu', { labels })])).toEqual({ ...nothing, foreign: ['gpu'] });
    expect(plan([], [classOf('gpu', { labels })])).toEqual(nothing);
  });
});
