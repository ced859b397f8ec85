import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { labelValue } from '../../../../src/builder/names.ts';
import { nodeLabels } from '../../../../src/builder/labels.ts';
import type { PodFacts } from '../../../../src/controller/observe/cluster/projections.ts';
import type { ModuleIndex } from '../../../../src/controller/module/labels/pods-by-module.ts';
import { labelChanges } from '../../../../src/controller/module/labels/label-changes.ts';
import { indexOf, kernelKey, merge, pod, release, type PodOptions } from './nodes-and-pods.ts';

const ready = 'kmm.node.kubernetes.io/drivers.a.ready';
const pluginReady = 'kmm.node.kubernetes.io/drivers.a.device-plugin-ready';
const draReady = 'kmm.node.kubernetes.io/drivers.a.dra-ready';
const versionReady = 'kmm.node.kubernetes.io/drivers.a.version.ready';
const kernel = { [kernelKey]: release };

interface State {
  readonly labels?: Readonly<Record<string, string>>;
  readonly pods?: readonly PodFacts[];
  readonly modules?: ModuleIndex;
  readonly kernelRelease?: string;
}

function changes({ labels = kernel, pods = [], modules = indexOf('drivers/a'), ...rest }: State) {
  return labelChanges({ node: { labels, kernelRelease: rest.kernelRelease ?? release }, pods, modules });
}

describe('the kernel label', () => {
  it('follows the kernel', () => {
    expect(changes({ labels: {} }).labels).toEqual(kernel);
    expect(changes({ labels: { [kernelKey]: '5.10.0' } }).labels).toEqual(kernel);
    expect(changes({}).labels).toEqual({});
  });

  it('tells kernels with and without a plus apart', () => {
    const value = changes({ kernelRelease: `${release}+` }).labels[kernelKey];
    expect(value).not.toBe(release);
    expect(value).toMatch(/^[A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?$/);
  });

  it('goes while the kernel is not known', () => {
    expect(changes({ kernelRelease: '' }).labels).toEqual({ [kernelKey]: null });
    expect(changes({ kernelRelease: '', labels: {}, pods: [pod()] }).labels).toEqual({});
  });
});

describe('ready labels', () => {
  it('come with a ready pod, and with them the version that is loaded', () => {
    const come = changes({ pods: [pod({ version: 'v1' }), pod({ role: 'device-plugin', version: 'v1' })] });
    expect(come).toEqual({
      labels: { [ready]: '', [versionReady]: 'v1', [pluginReady]: '' },
      loaded: ['drivers/a'],
    });
    expect(changes({ pods: [pod()] }).labels).toEqual({ [ready]: '' });
  });

  it('come and go with a DRA driver as with a device plugin', () => {
    const driver = pod({ role: 'dra' });
    expect(changes({ pods: [driver] }).labels).toEqual({ [draReady]: '' });
    const labels = { ...kernel, [draReady]: '' };
    expect(changes({ labels, pods: [driver] }).labels).toEqual({});
    expect(changes({ labels }).labels).toEqual({ [draReady]: null });
  });

  it('keep the version of a loader until the DRA driver of that version has ended', () => {
    const loaderVersion = 'beta.kmm.node.kubernetes.io/version-module-loader.drivers.a';
    const wanted = { 'kmm.node.kubernetes.io/version-module.drivers.a': 'v2' };
    const labels = { ...kernel, ...wanted, [ready]: '', [versionReady]: 'v1', [loaderVersion]: 'v1' };
    const loader = pod({ version: 'v1' });
    const ending = pod({ role: 'dra', version: 'v1', facts: { deleting: true, ready: false } });
    expect(changes({ labels, pods: [loader, ending] }).labels).toEqual({});
    expect(changes({ labels, pods: [loader] }).labels).toEqual({ [loaderVersion]: null });
  });

  it.each<[string, PodOptions]>([
    ['is not ready', { facts: { ready: false } }],
    ['is being deleted', { facts: { deleting: true } }],
    ['has ended', { facts: { phase: 'Failed' } }],
    ['was made for another kernel', { kernel: '5.10.0' }],
    ['is of a build', { role: 'build' }],
    ['belongs to a Module of the same name elsewhere', { namespace: 'elsewhere' }],
  ])('go when the pod %s', (_why, options) => {
    const labels = { ...kernel, [ready]: '', [versionReady]: 'v1' };
    expect(changes({ labels, pods: [pod({ version: 'v1', ...options })] })).toEqual({
      labels: { [ready]: null, [versionReady]: null },
      loaded: [],
    });
  });

  it('name no version while there are two', () => {
    const pods = [pod({ version: 'v1' }), pod({ version: 'v2' })];
    expect(changes({ pods }).labels).toEqual({ [ready]: '' });
    expect(
      changes({ pods: pods.slice(1), labels: { ...kernel, [ready]: '', [versionReady]: 'v1' } }),
    ).toEqual({ labels: { [versionReady]: 'v2' }, loaded: [] });
  });

  it('of a Module that is gone stay while a pod has it loaded, and never come anew', () => {
    const gone = { modules: indexOf(), pods: [pod()] };
    expect(changes({ ...gone, labels: { ...kernel, [ready]: '' } }).labels).toEqual({});
    expect(changes(gone).labels).toEqual({});
    expect(changes({ ...gone, labels: { ...kernel, [ready]: '' }, pods: [] }).labels).toEqual({
      [ready]: null,
    });
  });

  it('of a Module whose name is too long for labels are right, too', () => {
    const name = `${'long-'.repeat(20)}.name`;
    const keys = nodeLabels({ namespace: 'drivers', name });
    const pods = [pod({ module: labelValue(name) })];
    const modules = indexOf(`drivers/${name}`);
    expect(changes({ modules, pods })).toEqual({
      labels: { [keys.ready]: '' },
      loaded: [`drivers/${name}`],
    });
    modules.delete({ namespace: 'drivers', name });
    expect(changes({ modules, pods, labels: { ...kernel, [keys.ready]: '' } }).labels).toEqual({
      [keys.ready]: null,
    });
  });
});

describe('labels of others', () => {
  it('are left alone', () => {
    const labels = {
      ...kernel,
      'kmm.node.kubernetes.io/my-kmod.ready': '',
      'kmm.node.kubernetes.io/my-kmod.device-plugin-ready': '',
      'kmm.node.kubernetes.io/my-kmod.dra-ready': '',
      'kmm.node.kubernetes.io/drivers.a.device-plugin-target': '',
      'beta.kmm.node.kubernetes.io/version-worker-pod.drivers.a': 'v1',
      'kmm.node.kubernetes.io/version-module.drivers': 'v1',
      'example.org/drivers.a.ready': '',
      'kubernetes.io/hostname': 'node',
    };
    expect(changes({ labels, modules: indexOf() }).labels).toEqual({});
  });

  it("keeps the administrator's label of a Module called ready", () => {
    const labels = { ...kernel, 'kmm.node.kubernetes.io/version-module.drivers.ready': 'v1' };
    expect(changes({ labels, modules: indexOf() }).labels).toEqual({
      'beta.kmm.node.kubernetes.io/version-module-loader.drivers.ready': 'v1',
    });
  });
});

describe('any state of a node', () => {
  const module = fc.constantFrom('a', 'b', 'version', 'ready', 'x'.repeat(70), 'dotted.name');
  const namespace = fc.constantFrom('drivers', 'other');
  const anyPod = fc
    .record({
      role: fc.constantFrom('module-loader', 'device-plugin', 'dra', 'build'),
      namespace,
      module: module.map(labelValue),
      kernel: fc.constantFrom(release, '5.10.0'),
      version: fc.option(fc.constantFrom('v1', 'v2'), { nil: undefined }),
      facts: fc.record({
        ready: fc.boolean(),
        deleting: fc.boolean(),
        phase: fc.constantFrom('Running', 'Failed'),
      }),
    })
    .map(({ version, ...rest }) => pod(version === undefined ? rest : { ...rest, version }));
  const anyKey = fc
    .tuple(namespace, module)
    .chain(([of, name]) => fc.constantFrom(...Object.values(nodeLabels({ namespace: of, name }))));
  const state = fc.record({
    labels: fc.dictionary(anyKey, fc.constantFrom('', 'v1', 'v2')),
    pods: fc.array(anyPod, { maxLength: 8 }),
    names: fc.array(fc.tuple(namespace, module).map((parts) => parts.join('/'))),
  });

  it('comes to rest within a few steps when the pods stay as they are', () => {
    fc.assert(
      fc.property(state, ({ labels, pods, names }) => {
        let now: Record<string, string> = labels;
        let steps = 0;
        for (;;) {
          const { labels: patch } = changes({ labels: now, pods, modules: indexOf(...names) });
          if (Object.keys(patch).length === 0) break;
          steps += 1;
          expect(steps).toBeLessThanOrEqual(5);
          now = merge(now, patch);
        }
      }),
    );
  });
});
