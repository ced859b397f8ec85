import { describe, expect, it } from 'vitest';
import type { NodeModuleSpec } from '../../../src/api/node-modules-config.ts';
import type { CachedNodeModules } from '../../../src/controller/node-modules/cache.ts';
import { planNodeModules, type NodeModulesState } from '../../../src/controller/node-modules/plan.ts';
import { wantedModules } from '../../../src/controller/node-modules/wanted-modules.ts';
import type { PodFacts } from '../../../src/controller/observe/cluster/projections.ts';
import type { CachedModule } from '../../../src/controller/observe/cluster/caches.ts';
import { pod, type PodOptions } from '../module/labels/nodes-and-pods.ts';
import { moduleOf, nodeOf } from '../module/module-facts.ts';

const release = '6.1.0-13-amd64';
const digest = `sha256:${'a'.repeat(64)}`;
const otherDigest = `sha256:${'b'.repeat(64)}`;
const image = `r.example/driver:${release}`;
const node = nodeOf('one', release);

/** The Module drivers/driver with a ready image, as it is cached. */
function cached(container: object = {}, status: object = { digest }, spec: object = {}): CachedModule {
  const module = moduleOf(container, spec);
  const kernels = [{ kernelVersion: release, architecture: 'amd64', phase: 'Ready' as const, ...status }];
  return {
    key: { namespace: 'drivers', name: 'driver' },
    metadata: { ...module.metadata, creationTimestamp: undefined },
    module: { ...module, status: { kernels } },
    problem: undefined,
  };
}

function loader(options: PodOptions = {}, facts: Partial<PodFacts> = {}): PodFacts {
  const images = [`r.example/driver@${digest}`];
  return pod({ module: 'driver', kernel: release, ...options, facts: { images, startedAt: '1', ...facts } });
}

/** A pod that unloads what another has loaded. */
function cleaner(): PodFacts {
  const { labels } = loader();
  return loader({}, { labels: { ...labels, 'kmm.node.kubernetes.io/loader-mode': 'unload' } });
}

function plan(changes: Partial<NodeModulesState> = {}) {
  const wanted = wantedModules([cached()], node);
  return planNodeModules({ node, wanted, pods: [], present: undefined, loadedBy: new Map(), ...changes });
}

function present(changes: Partial<CachedNodeModules> = {}): CachedNodeModules {
  const { spec, status } = plan({ pods: [loader()] });
  const none = { name: 'one', uid: 'u', nodeUid: node.uid, labels: {}, loadedByKmm: [] };
  return { ...none, isOurs: true, spec, status, ...changes };
}

const entry: NodeModuleSpec = {
  namespace: 'drivers',
  name: 'driver',
  serviceAccountName: 'default',
  config: {
    kernelVersion: release,
    containerImage: image,
    imagePullPolicy: 'IfNotPresent',
    insecurePull: false,
    modprobe: { moduleName: 'hello', dirName: '/opt' },
  },
};

describe('what a node should have', () => {
  it('has the image as the Module names it, since vendors read versions from its tag', () => {
    expect(plan().spec).toEqual([entry]);
    expect(plan().labels).toEqual({ 'beta.kmm.node.kubernetes.io/drivers.driver.module-configured': '' });
  });

  it('has what else the Module says about its pods', () => {
    const more = { imageRepoSecret: { name: 'pull' }, tolerations: [{ operator: 'Exists' }] };
    const container = { registryTLS: { insecure: true }, inTreeModulesToRemove: ['old'] };
    const wanted = wantedModules([cached(container, { digest }, more)], node);
    expect(plan({ wanted }).spec).toEqual([
      { ...entry, ...more, config: { ...entry.config, insecurePull: true, inTreeModulesToRemove: ['old'] } },
    ]);
  });

  it.each([
    ['a Module that is being deleted', { deletionTimestamp: '2026-01-01T00:00:00Z' }, node],
    ['a node that is not selected', {}, nodeOf('one', release, { labels: {} })],
    ['a kernel without a mapping', {}, nodeOf('one', '5.10.0')],
  ])('is nothing for %s', (_, metadata, of) => {
    const module = cached();
    const wanted = wantedModules([{ ...module, metadata: { ...module.metadata, ...metadata } }], of);
    expect(plan({ wanted, node: of, present: present() }).spec).toEqual([]);
  });

  it.each([
    ['its image is being built', cached({}, { digest: undefined, phase: 'Building' }), node],
    [
      'the node has a taint',
      cached(),
      nodeOf('one', release, { taints: [{ key: 'a', effect: 'NoExecute' }] }),
    ],
  ])('stays as it is while %s, and does not come then', (_, module, of) => {
    const wanted = wantedModules([module], of);
    expect(plan({ wanted, node: of, present: present() }).spec).toEqual([entry]);
    expect(plan({ wanted, node: of }).spec).toEqual([]);
  });

  it('changes its version when the node is allowed to', () => {
    const key = 'beta.kmm.node.kubernetes.io/version-module-loader.drivers.driver';
    const of = (version: string | undefined) => {
      const labels = { gpu: 'yes', ...(version === undefined ? {} : { [key]: version }) };
      const other = nodeOf('one', release, { labels });
      const wanted = wantedModules([cached({ version: 'v2' })], other);
      return plan({ wanted, node: other, present: present() }).spec.map((one) => one.version);
    };
    expect(of('v2')).toEqual(['v2']);
    // What present() has, which has no version.
    expect(of('v1')).toEqual([undefined]);
    expect(of(undefined)).toEqual([]);
  });
});

describe('what a node has', () => {
  const loaded = { ...entry, bootId: 'boot-1' };

  it('is what a ready loader of this image, kernel and version has loaded', () => {
    const { status, labels } = plan({ pods: [loader()] });
    expect(status).toEqual([loaded]);
    expect(Object.keys(labels)).toEqual([
      'beta.kmm.node.kubernetes.io/drivers.driver.module-configured',
      'beta.kmm.node.kubernetes.io/drivers.driver.module-in-use',
    ]);
  });

  it.each([
    ['is not ready', loader({}, { ready: false })],
    ['is being deleted', loader({}, { deleting: true })],
    ['is for another kernel', loader({ kernel: '6.2.0' })],
    ['is of another version', loader({ version: 'v0' })],
    ['has another image', loader({}, { images: [`r.example/driver@${otherDigest}`] })],
    ['is of another namespace', loader({ namespace: 'other' })],
    ['is a device plugin', loader({ role: 'device-plugin' })],
    ['only cleans the node', cleaner()],
  ])('is nothing when the only pod %s', (_, only) => {
    expect(plan({ pods: [only] }).status).toEqual([]);
  });

  it('stays what it was while the old loader is there and another image is wanted', () => {
    const wanted = wantedModules(
      [cached({ containerImage: 'r.example/driver:v2' }, { digest: otherDigest })],
      node,
    );
    expect(plan({ wanted, pods: [loader()], present: present() }).status).toEqual([loaded]);
    expect(plan({ wanted, pods: [], present: present() }).status).toEqual([]);
  });

  it('does not claim to be loaded when only the content of the tag has changed', () => {
    const wanted = wantedModules([cached({}, { digest: otherDigest })], node);
    const { status, labels } = plan({ wanted, pods: [loader()], present: present() });
    const { config: _config, ...unclear } = entry;
    expect(status).toEqual([unclear]);
    expect(Object.keys(labels)).toEqual(['beta.kmm.node.kubernetes.io/drivers.driver.module-configured']);
  });

  it('is nothing after a reboot until the loader has been started again', () => {
    const rebooted = nodeOf('one', release, { bootId: 'boot-2' });
    const { loadedBy } = plan({ pods: [loader()] });
    expect(plan({ node: rebooted, pods: [loader()], present: present(), loadedBy }).status).toEqual([]);
    const again = [loader({}, { startedAt: '2' })];
    expect(plan({ node: rebooted, pods: again, present: present(), loadedBy }).status).toEqual([
      { ...entry, bootId: 'boot-2' },
    ]);
  });
});

describe('what KMM has loaded', () => {
  const kmm = present({
    isOurs: false,
    status: [{ ...entry, bootId: 'boot-1', config: { ...entry.config, containerImage: 'r.example/old:1' } }],
  });

  it('counts until a loader has taken it over', () => {
    const first = plan({ present: kmm });
    expect(first).toMatchObject({ status: kmm.status, loadedByKmm: ['drivers/driver'] });
    const ours = { ...kmm, isOurs: true, loadedByKmm: first.loadedByKmm };
    expect(plan({ present: ours, pods: [loader({}, { ready: false })] })).toMatchObject({
      status: kmm.status,
    });
    expect(plan({ present: ours, pods: [loader()] })).toMatchObject({
      status: [{ ...entry, bootId: 'boot-1' }],
      loadedByKmm: [],
    });
  });

  it('counts no longer when the node has booted since', () => {
    const rebooted = nodeOf('one', release, { bootId: 'boot-2' });
    expect(plan({ present: kmm, node: rebooted })).toMatchObject({ status: [], loadedByKmm: [] });
  });

  it('counts while its Module is gone: it is still in the kernel', () => {
    expect(plan({ present: kmm, wanted: [] })).toMatchObject({ spec: [], status: kmm.status });
  });
});
