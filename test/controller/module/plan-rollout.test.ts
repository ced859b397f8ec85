import type { V1DaemonSet } from '@kubernetes/client-node';
import { describe, expect, it } from 'vitest';
import type { ImageState } from '../../../src/controller/image-pipeline/request.ts';
import type { LoaderSettings } from '../../../src/controller/module/loading/settings.ts';
import type { NamedModule } from '../../../src/controller/module/named-module.ts';
import { selectNodes } from '../../../src/controller/module/node-groups.ts';
import {
  planRollout,
  type RolloutFacts,
  type RolloutPlan,
} from '../../../src/controller/module/plan-rollout.ts';
import { wantedKernels } from '../../../src/controller/module/wanted-kernels.ts';
import type {
  DaemonSetFacts,
  NodeFacts,
  PodFacts,
} from '../../../src/controller/observe/cluster/projections.ts';
import { imageOf } from './cluster-objects.ts';
import { pod } from './labels/nodes-and-pods.ts';
import {
  building,
  daemonSetOf,
  digest,
  failed,
  loaderSettings,
  moduleOf,
  newKernel,
  nodeOf,
  oldKernel,
  resultOf,
} from './module-facts.ts';

const kernelLabel = 'kmm.node.kubernetes.io/kernel-version.full';
const roleLabel = 'kmm.node.kubernetes.io/role';
const loaderVersion = 'beta.kmm.node.kubernetes.io/version-module-loader.drivers.driver';
const pluginVersion = 'beta.kmm.node.kubernetes.io/version-device-plugin.drivers.driver';
const plugin = { devicePlugin: { container: { image: 'r.example/plugin:1' } } };
const draDriver = { dra: { container: { image: 'r.example/dra:1' }, driverName: 'gpu.example' } };
const start = Date.parse('2026-05-01T12:00:00Z');

interface Situation {
  readonly module?: NamedModule;
  readonly nodes?: readonly NodeFacts[];
  /** States of images by kernel. @default ready */
  readonly states?: Readonly<Record<string, Partial<ImageState>>>;
  readonly daemonSets?: readonly DaemonSetFacts[];
  readonly now?: number;
  readonly settings?: Partial<LoaderSettings>;
  readonly pods?: readonly PodFacts[];
  /** @default served */
  readonly dra?: RolloutFacts['dra'];
}

function plan({
  module = moduleOf(),
  nodes = [nodeOf('a', oldKernel)],
  states = {},
  daemonSets = [],
  now = start,
  settings = {},
  pods = [],
  dra = { isServed: true, problem: undefined },
}: Situation): RolloutPlan {
  const { selector, tolerations = [] } = module.spec;
  const selected = selectNodes(nodes, { selector, tolerations });
  const results = wantedKernels(module, selected.groups).map((wanted) =>
    resultOf(wanted, states[wanted.group.kernel.release]),
  );
  const operator: RolloutFacts['operator'] = {
    namespace: 'kmm-operator-system',
    moduleLoaderServiceAccount: 'loader',
    devicePluginServiceAccount: 'plugin',
  };
  const loader = { ...loaderSettings, ...settings };
  const facts = { module, selected, results, daemonSets, pods, dra, operator, loader };
  return planRollout({ ...facts, builder: 'kaniko', sharedImages: [], now });
}

function loaderOf(kernel: string, changes: Partial<DaemonSetFacts> = {}, version?: string): DaemonSetFacts {
  const labels = { [roleLabel]: 'module-loader', [kernelLabel]: kernel };
  return daemonSetOf(
    `loader-${kernel}`,
    version === undefined ? labels : { ...labels, [loaderVersion]: version },
    changes,
  );
}

function applied({ apply }: RolloutPlan): unknown[] {
  return apply.map(({ metadata, spec }) => ({
    role: metadata?.labels?.[roleLabel],
    kernel: metadata?.labels?.[kernelLabel],
    image: imageOf(spec?.template.spec),
  }));
}

function removed({ remove }: RolloutPlan): string[] {
  return remove.map(({ key }) => key.name);
}

function condition({ status }: RolloutPlan, type: string): unknown {
  const found = status.conditions?.find((one) => one.type === type);
  return found && [found.status, found.reason, found.message];
}

describe('the DaemonSets of a Module', () => {
  it('are one for each kernel whose image is ready, pinned by its digest', () => {
    const nodes = [nodeOf('a', oldKernel), nodeOf('b', newKernel), nodeOf('c', '5.10.0')];
    expect(applied(plan({ nodes, states: { [newKernel]: building } }))).toEqual([
      { role: 'module-loader', kernel: oldKernel, image: `r.example/driver@${digest}` },
    ]);
  });

  it('are the device plugin’s too, whatever images are at', () => {
    const module = moduleOf({}, plugin);
    expect(applied(plan({ module, states: { [oldKernel]: building } }))).toEqual([
      { role: 'device-plugin', kernel: undefined, image: 'r.example/plugin:1' },
    ]);
  });

  it.each<[string, Situation, DaemonSetFacts, boolean]>([
    ['is being built', { states: { [oldKernel]: building } }, loaderOf(oldKernel), false],
    ['could not be built', { states: { [oldKernel]: failed } }, loaderOf(oldKernel), false],
    [
      'runs on nodes with a taint only',
      {
        nodes: [nodeOf('a', oldKernel, { taints: [{ key: 'reserved', effect: 'NoSchedule' }] })],
      },
      loaderOf(oldKernel),
      false,
    ],
    [
      'is matched by an expression that cannot be compiled',
      { module: moduleOf({ kernelMappings: [{ regexp: '(' }] }) },
      loaderOf(oldKernel),
      false,
    ],
    ['no node runs any more', {}, loaderOf(newKernel, { desired: 1 }), true],
    [
      'no mapping matches any more',
      { module: moduleOf({ kernelMappings: [{ literal: newKernel }] }) },
      loaderOf(oldKernel, { desired: 1 }),
      true,
    ],
    ['no node runs, but is being deleted', {}, loaderOf(newKernel, { deleting: true }), false],
  ])('stay or go: that of a kernel which %s', (_title, situation, daemonSet, goes) => {
    expect(removed(plan({ ...situation, daemonSets: [daemonSet] }))).toEqual(
      goes ? [daemonSet.key.name] : [],
    );
  });

  it.each<[string, DaemonSetFacts, boolean]>([
    [
      'module loader of the version before, which nodes have',
      loaderOf(oldKernel, { desired: 1 }, 'v1'),
      false,
    ],
    ['module loader of the version before, which no node has', loaderOf(oldKernel, {}, 'v1'), true],
    [
      'device plugin of the version before, which nodes have',
      daemonSetOf('plugin-v1', { [roleLabel]: 'device-plugin', [pluginVersion]: 'v1' }, { desired: 2 }),
      false,
    ],
    [
      'device plugin of the version before, which no node has',
      daemonSetOf('plugin-v1', { [roleLabel]: 'device-plugin', [pluginVersion]: 'v1' }),
      true,
    ],
    [
      'DRA driver of the version before, though the Module has a device plugin now',
      daemonSetOf('dra-v1', { [roleLabel]: 'dra', [pluginVersion]: 'v1' }, { desired: 2 }),
      true,
    ],
    ['one without a role that is known', daemonSetOf('else', { [roleLabel]: 'else' }, { desired: 1 }), true],
  ])('stay or go in an ordered upgrade: a %s', (_title, daemonSet, goes) => {
    const situation = { module: moduleOf({ version: 'v2' }, plugin), daemonSets: [daemonSet] };
    expect(removed(plan(situation))).toEqual(goes ? [daemonSet.key.name] : []);
  });

  it('are the DRA driver’s too where the API server has what it needs, and stay while nodes have its version', () => {
    const module = moduleOf({ version: 'v2' }, draDriver);
    const old = daemonSetOf('dra-v1', { [roleLabel]: 'dra', [pluginVersion]: 'v1' }, { desired: 2 });
    const served = plan({ module, daemonSets: [old] });
    expect(applied(served).at(-1)).toEqual({ role: 'dra', kernel: undefined, image: 'r.example/dra:1' });
    expect(removed(served)).toEqual([]);
    const current = daemonSetOf('dra-v2', { [roleLabel]: 'dra', [pluginVersion]: 'v2' }, { desired: 2 });
    const problem = { reason: 'DraNotServed', message: 'It has none' };
    const absent = plan({ module, daemonSets: [current], dra: { isServed: false, problem } });
    expect(applied(absent)).toMatchObject([{ role: 'module-loader' }]);
    expect(removed(absent)).toEqual(['dra-v2']);
  });

  it('of a DRA driver that KMM has deployed are deleted without their pods before ours are written', () => {
    const labels = { 'kmm.node.kubernetes.io/module.name': 'driver', [roleLabel]: 'dra' };
    const theirs = { ...daemonSetOf('driver-dra-x7k2p', {}, { desired: 2 }), labels };
    const planned = plan({ module: moduleOf({}, draDriver), daemonSets: [theirs] });
    expect(planned.orphan).toEqual([theirs]);
    expect(removed(planned)).toEqual([]);
    expect(applied(planned)).toMatchObject([{ role: 'module-loader' }]);
  });

  it('go when the Module no longer has a device plugin, though nodes run it', () => {
    const labels = { [roleLabel]: 'device-plugin', [pluginVersion]: 'v1' };
    const old = daemonSetOf('plugin', labels, { desired: 1 });
    expect(removed(plan({ module: moduleOf({ version: 'v2' }), daemonSets: [old] }))).toEqual(['plugin']);
  });
});

describe('the conditions of a Module', () => {
  const loaded = loaderOf(oldKernel, { desired: 1, available: 1 });

  it.each<[string, Situation, unknown[]]>([
    [
      'a kernel that failed, before one that is under way',
      {
        nodes: [nodeOf('a', oldKernel), nodeOf('b', newKernel)],
        states: { [oldKernel]: building, [newKernel]: failed },
      },
      ['False', 'BuildFailed', `Kernel ${newKernel}: Job build-1 failed`],
    ],
    [
      'a kernel that is under way',
      { states: { [oldKernel]: building } },
      ['False', 'BuildRunning', `Kernel ${oldKernel}: Job build-1 runs`],
    ],
    ['no node', { nodes: [] }, ['True', 'NoNodes', 'No node matches the selector']],
    ['nodes without the module', {}, ['False', 'Loading', '0 of 1 nodes have the module']],
    [
      'nodes without the device plugin',
      { module: moduleOf({}, plugin), daemonSets: [loaded] },
      ['False', 'StartingDevicePlugin', '0 of 1 nodes have the device plugin'],
    ],
    [
      'all nodes with the module',
      { daemonSets: [loaded] },
      ['True', 'Loaded', '1 of 1 nodes have the module'],
    ],
  ])('say in Ready: %s', (_title, situation, expected) => {
    expect(condition(plan(situation), 'Ready')).toEqual(expected);
  });

  it.each<[string, Situation, unknown[], unknown[]]>([
    [
      'several kernels are worked on',
      {
        nodes: [nodeOf('a', oldKernel), nodeOf('b', newKernel)],
        states: { [oldKernel]: building, [newKernel]: building },
      },
      ['True', 'BuildRunning', `Kernel ${oldKernel}: Job build-1 runs (and 1 more kernels)`],
      ['False', 'AsExpected', 'Nothing has failed'],
    ],
    [
      'a kernel failed',
      { states: { [oldKernel]: failed } },
      ['True', 'RollingOut', 'Pods are being started on nodes'],
      ['True', 'BuildFailed', `Kernel ${oldKernel}: Job build-1 failed`],
    ],
    [
      'pods are being started',
      {},
      ['True', 'RollingOut', 'Pods are being started on nodes'],
      ['False', 'AsExpected', 'Nothing has failed'],
    ],
    [
      'all is done',
      { daemonSets: [loaded] },
      ['False', 'Settled', 'There is nothing to do'],
      ['False', 'AsExpected', 'Nothing has failed'],
    ],
  ])('say in Progressing and Degraded that %s', (_title, situation, progressing, degraded) => {
    const planned = plan(situation);
    expect(condition(planned, 'Progressing')).toEqual(progressing);
    expect(condition(planned, 'Degraded')).toEqual(degraded);
  });

  it('name mappings without effect, where nodes have kernels', () => {
    const module = moduleOf({ kernelMappings: [{ regexp: '^6' }, { literal: oldKernel }, { regexp: '^4' }] });
    expect(condition(plan({ module }), 'IdleKernelMappings')).toEqual([
      'True',
      'Shadowed',
      [
        `kernelMappings[1] "${oldKernel}" only matches kernels that an earlier mapping takes`,
        'kernelMappings[2] "^4" matches the kernel of no node',
      ].join('; '),
    ]);
    expect(condition(plan({ module, nodes: [] }), 'IdleKernelMappings')).toBeUndefined();
  });
});

const loaderNamed = (planned: RolloutPlan, changes: Partial<DaemonSetFacts> = {}): DaemonSetFacts => {
  const [{ metadata }] = planned.apply as [V1DaemonSet];
  const annotations = metadata?.annotations ?? {};
  return daemonSetOf(
    metadata?.name ?? '',
    { [roleLabel]: 'module-loader', [kernelLabel]: oldKernel },
    {
      loaderInputs: annotations['kmm.node.kubernetes.io/loader-inputs'],
      loaderContent: annotations['kmm.node.kubernetes.io/loader-content'],
      ...changes,
    },
  );
};
const volumes = ({ apply }: RolloutPlan): unknown =>
  apply.map(({ spec }) => spec?.template.spec?.volumes?.[0]?.image?.reference ?? 'copied');

describe('the loaders of a Module', () => {
  const modern = nodeOf('a', oldKernel, {
    kubeletVersion: 'v1.35.0',
    containerRuntimeVersion: 'cri-o://1.35.0',
  });

  it.each([
    [[modern], 'auto', `r.example/driver@${digest}`],
    [[modern, nodeOf('b', oldKernel)], 'auto', 'copied'],
    [[nodeOf('b', oldKernel)], 'always', `r.example/driver@${digest}`],
    [[modern], 'never', 'copied'],
  ] as const)(
    'get images as all nodes can have them, or as configured: case %#',
    (nodes, imageVolumes, expected) => {
      expect(volumes(plan({ nodes, settings: { imageVolumes } }))).toEqual([expected]);
    },
  );

  it.each([
    ['v1.35.0', 'containerd://2.1.0', true],
    ['v1.36.2-eks-1', 'containerd://2.2.1', true],
    ['v1.35.0', 'containerd://2.0.5', false],
    ['v1.34.9', 'cri-o://1.34.1', false],
    ['v1.35.0', 'docker://27.0.0', false],
    ['', '', false],
  ])('mount images with kubelet %j and runtime %j: %s', (kubeletVersion, containerRuntimeVersion, can) => {
    const node = nodeOf('a', oldKernel, { kubeletVersion, containerRuntimeVersion });
    expect(volumes(plan({ nodes: [node] }))).toEqual([can ? `r.example/driver@${digest}` : 'copied']);
  });

  it('go on copying where their nodes could mount by now: a change would unload the module', () => {
    const present = loaderNamed(plan({}));
    expect(volumes(plan({ nodes: [modern], daemonSets: [present] }))).toEqual(['copied']);
  });

  it('stay as an earlier operator wrote them until the Module wants something else', () => {
    const present = loaderNamed(plan({}), { loaderContent: 'other' });
    const same = plan({ daemonSets: [present] });
    expect([applied(same), removed(same)]).toEqual([[], []]);
    const changed = moduleOf({ modprobe: { moduleName: 'hello', parameters: ['a=1'] } });
    expect(applied(plan({ module: changed, daemonSets: [present] }))).toHaveLength(1);
  });

  it('are not written without an image for them, and those that run stay', () => {
    const planned = plan({ settings: { image: undefined }, daemonSets: [loaderOf(oldKernel)] });
    expect([applied(planned), removed(planned)]).toEqual([[], []]);
    const message =
      'The operator has no image for module loaders. Set loader.image in its configuration, or RELATED_IMAGE_LOADER in its environment.';
    expect(condition(planned, 'Ready')).toEqual(['False', 'LoaderImageUnknown', message]);
    expect(condition(planned, 'Degraded')).toEqual(['True', 'LoaderImageUnknown', message]);
  });
});

describe('a new version of the image', () => {
  const nodes = [nodeOf('a', oldKernel), nodeOf('b', oldKernel)];
  const all = { desired: 2, updated: 2, available: 2 };
  const present = (changes: Partial<DaemonSetFacts>): DaemonSetFacts =>
    loaderNamed(plan({ nodes }), { ...all, ...changes });
  const next = { [oldKernel]: { digest: `sha256:${'e'.repeat(64)}` } };

  it.each<[string, DaemonSetFacts, Situation['states'], string]>([
    ['is not written yet', present({}), next, '0 of 2'],
    ['was not seen yet by the controller of DaemonSets', present({ isObserved: false }), {}, '0 of 2'],
    ['is loaded by one of two nodes', present({ updated: 1 }), {}, '1 of 2'],
  ])('is not reported as loaded where it %s', (_title, daemonSet, states, count) => {
    const planned = plan({ nodes, daemonSets: [daemonSet], states: states ?? {} });
    expect(condition(planned, 'Ready')).toEqual([
      'False',
      'Loading',
      `${count} nodes have the new module, the others still have the earlier one`,
    ]);
    expect(condition(planned, 'Progressing')).toEqual([
      'True',
      'RollingOut',
      'Pods are being started on nodes',
    ]);
    expect(planned.status.moduleLoader).toMatchObject({ desiredNumber: 2, availableNumber: 2 });
  });

  it('is reported where all nodes have it, or have pods that were taken over', () => {
    const loaded = ['True', 'Loaded', '2 of 2 nodes have the module'];
    expect(condition(plan({ nodes, daemonSets: [present({})] }), 'Ready')).toEqual(loaded);
    const takenOver = present({ updated: 0, takenOver: 'template' });
    expect(condition(plan({ nodes, daemonSets: [takenOver] }), 'Ready')).toEqual(loaded);
  });

  it('of the device plugin is not reported as started where nodes run the earlier one', () => {
    const role = { [roleLabel]: 'device-plugin' };
    const daemonSets = [present({}), daemonSetOf('driver-device-plugin', role, { ...all, updated: 0 })];
    expect(condition(plan({ module: moduleOf({}, plugin), nodes, daemonSets }), 'Ready')).toEqual([
      'False',
      'StartingDevicePlugin',
      '0 of 2 nodes have the new device plugin, the others still have the earlier one',
    ]);
  });
});

/** The pod of a loader that cannot load on a node. */
const failing = (node: string): PodFacts =>
  pod({
    module: 'driver',
    facts: {
      ready: false,
      ownerName: `loader-${oldKernel}`,
      targetNode: node,
      failure: { kind: 'ended', reason: 'Error', message: 'modprobe: ERROR: no\n' },
    },
  });

describe('a Module that is not ready', () => {
  const taints = [{ key: 'reserved', value: 'gpu', effect: 'NoSchedule' }];
  const version = 'kmm.node.kubernetes.io/version-module.drivers.driver';

  it.each<[Situation, unknown]>([
    [
      { nodes: [nodeOf('a', '5.10.0'), nodeOf('b', '5.10.0')] },
      ['False', 'NoMatchingMapping', 'No kernel mapping matches the kernels of the nodes: 5.10.0'],
    ],
    [
      { nodes: [nodeOf('a', oldKernel, { taints }), nodeOf('b', oldKernel, { taints })] },
      [
        'False',
        'UntoleratedTaint',
        'All 2 nodes that match the selector have taints that the Module does not tolerate, such as reserved=gpu:NoSchedule on node a',
      ],
    ],
    [
      {
        module: moduleOf({ version: '2.0' }),
        nodes: [nodeOf('a', oldKernel, { labels: { gpu: 'yes', [version]: '1.0' } })],
      },
      ['False', 'NoNodeWithVersion', `No node has the label ${version}=2.0`],
    ],
    [
      {
        module: moduleOf({ version: '2.0' }),
        nodes: [nodeOf('a', oldKernel, { labels: { gpu: 'yes', [version]: '2.0' } })],
      },
      ['False', 'Loading', '0 of 1 nodes have the module'],
    ],
    [{ nodes: [] }, ['True', 'NoNodes', 'No node matches the selector']],
  ])('says why: case %#', (situation, expected) => {
    expect(condition(plan(situation), 'Ready')).toEqual(expected);
  });

  it('tells the node and the reason of what failed on nodes, once by an event', () => {
    const situation = {
      nodes: [nodeOf('a', oldKernel), nodeOf('b', oldKernel)],
      daemonSets: [loaderOf(oldKernel, { desired: 2, available: 1 })],
      pods: [failing('b')],
    };
    const planned = plan(situation);
    const said = 'Node b: modprobe: ERROR: no';
    expect(condition(planned, 'Ready')).toEqual(['False', 'LoadFailed', said]);
    expect(condition(planned, 'Degraded')).toEqual(['True', 'LoadFailed', said]);
    expect(condition(planned, 'Progressing')).toEqual([
      'False',
      'Stalled',
      'What is missing has failed; see Degraded',
    ]);
    expect(planned.events).toContainEqual({
      type: 'Warning',
      reason: 'LoadFailed',
      action: 'Load',
      note: said,
    });
    const module = { ...moduleOf(), status: planned.status };
    expect(plan({ ...situation, module }).events).toEqual([]);
  });

  it('does not count what others made with its labels, and says so', () => {
    const kmm = loaderOf(oldKernel, { available: 1, labels: { [roleLabel]: 'module-loader' } });
    const planned = plan({
      daemonSets: [kmm],
      pods: [
        pod({ module: 'driver', facts: { ownerName: 'other', key: { namespace: 'drivers', name: 'x' } } }),
      ],
    });
    expect(planned.status.moduleLoader?.availableNumber).toBe(0);
    expect(condition(planned, 'ForeignPods')).toEqual([
      'True',
      'NotCounted',
      "A pod has the labels of this Module's pods, but no DaemonSet of the operator: x on node node; it is not counted",
    ]);
  });
});

describe('the status of a Module', () => {
  it('counts nodes: those that may get the module, should have it and have it', () => {
    const nodes = [nodeOf('a', oldKernel), nodeOf('b', oldKernel), nodeOf('c', '5.10.0')];
    const { status } = plan({
      module: moduleOf({}, plugin),
      nodes,
      daemonSets: [loaderOf(oldKernel, { desired: 2, available: 1 })],
    });
    const counters = { nodesMatchingSelectorNumber: 3, desiredNumber: 2 };
    expect(status.moduleLoader).toEqual({ ...counters, availableNumber: 1 });
    expect(status.devicePlugin).toEqual({ ...counters, availableNumber: 0 });
  });

  it('counts nodes with the DRA driver, and waits for them', () => {
    const loaded = loaderOf(oldKernel, { desired: 2, available: 2 });
    const driver = daemonSetOf('dra', { [roleLabel]: 'dra' }, { desired: 2, available: 1 });
    const nodes = [nodeOf('a', oldKernel), nodeOf('b', oldKernel)];
    const starting = plan({ module: moduleOf({}, draDriver), nodes, daemonSets: [loaded, driver] });
    const counters = { nodesMatchingSelectorNumber: 2, desiredNumber: 2 };
    expect(starting.status.dra).toEqual({ ...counters, availableNumber: 1 });
    expect(condition(starting, 'Ready')).toEqual([
      'False',
      'StartingDraDriver',
      '1 of 2 nodes have the DRA driver',
    ]);
    expect(condition(starting, 'Progressing')).toEqual(['True', 'RollingOut', expect.any(String)]);
    const all = plan({
      module: moduleOf({}, draDriver),
      nodes,
      daemonSets: [loaded, { ...driver, updated: 2, available: 2 }],
    });
    expect(condition(all, 'Ready')).toEqual(['True', 'Loaded', '2 of 2 nodes have the module']);
    expect(plan({ nodes, daemonSets: [loaded] }).status.dra).toBeUndefined();
  });

  it('says why the DRA driver is not deployed, with one event, though no node is there yet', () => {
    const problem = { reason: 'DraNotServed', message: 'It has none' };
    const situation = { nodes: [], dra: { isServed: false, problem } };
    const planned = plan({ ...situation, module: moduleOf({}, draDriver) });
    expect(condition(planned, 'Ready')).toEqual(['False', 'DraNotServed', 'It has none']);
    expect(condition(planned, 'Degraded')).toEqual(['True', 'DraNotServed', 'It has none']);
    expect(condition(planned, 'Progressing')).toEqual(['False', 'Settled', 'There is nothing to do']);
    expect(planned.events).toMatchObject([{ type: 'Warning', reason: 'DraNotServed', note: 'It has none' }]);
    const reported = { ...moduleOf({}, draDriver), status: planned.status };
    expect(plan({ ...situation, module: reported }).events).toEqual([]);
  });

  it('has an entry for each architecture of a kernel', () => {
    const nodes = [nodeOf('a', oldKernel), nodeOf('b', oldKernel, { architecture: 'arm64' })];
    expect(plan({ nodes }).status.kernels).toMatchObject([
      { kernelVersion: oldKernel, architecture: 'amd64', nodes: 1, digest },
      { kernelVersion: oldKernel, architecture: 'arm64', nodes: 1, digest },
    ]);
  });

  it('stays as it is, with its times, while nothing changes; then there is no event either', () => {
    const { status, events } = plan({});
    expect(events.map(({ reason }) => reason)).toEqual(['ImageReady']);
    const again = plan({ module: { ...moduleOf(), status }, now: start + 60_000 });
    expect(again.status).toEqual(status);
    expect(again.events).toEqual([]);
  });

  it('gives a change its time, and events for the Job that ended and what came of it', () => {
    const before = plan({ states: { [oldKernel]: building } });
    expect(before.events).toMatchObject([{ type: 'Normal', reason: 'BuildCreated' }]);
    const module = { ...moduleOf(), status: before.status };
    const after = plan({ module, now: start + 60_000 });
    expect(after.events).toMatchObject([
      { reason: 'BuildSucceeded', succeeded: { kind: 'build', job: 'build-1' } },
      { reason: 'ImageReady' },
    ]);
    expect(after.status.kernels).toMatchObject([
      { startTime: '2026-05-01T12:00:00.000Z', lastTransitionTime: '2026-05-01T12:01:00.000Z' },
    ]);
    const gaveUp = plan({ module, states: { [oldKernel]: failed } });
    expect(gaveUp.events).toMatchObject([{ type: 'Warning', reason: 'BuildFailed' }]);
  });
});
