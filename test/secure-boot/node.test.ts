import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { parseModule, type Module } from '../../src/api/module/module.ts';
import { onlyTrust } from '../../src/controller/node-trust/labels.ts';
import { modules, nodes, pods, type Pod } from '../../src/controller/observe/cluster/resources.ts';
import { listAll } from '../../src/controller/runtime/api/list.ts';
import { builtModule } from '../end-to-end/build-tools.ts';
import { pushDriver } from '../node/driver-image.ts';
import {
  installedOperatorPrograms,
  installOverlay,
  reconfigureOverlay,
  startPreparedCluster,
  untilHolds,
  type PreparedCluster,
} from '../node/installed-operator.ts';
import { prebuiltManifest } from '../node/module-manifest.ts';
import { kernelRelease } from '../support/debian-kernel.ts';
import { describeWith } from '../support/programs.ts';
import { startGuestWitness, type GuestWitness } from './node/guest-witness.ts';
import { secureBootNodePrograms, startSecureBootNode, type SecureBootNode } from './node/secure-boot-node.ts';
import { documentedLabel, labelsOfLoadedKeys } from './node/trusted-keys.ts';
import { unpackedPackage } from './packages.ts';

const name = 'driver';
/** Keeps `team` in use. */
const user = { name: 'team_mode_random', file: 'team_mode_random.ko' };
const nodeTrust = { publish: 'labels' };
/** A test waits for pulls and boots without KVM. */
const limit = 900_000;

describeWith([...installedOperatorPrograms, ...secureBootNodePrograms], 'a node under Secure Boot', () => {
  let cluster: PreparedCluster;
  let node: SecureBootNode;
  let witness: GuestWitness;
  /** The label of nodes that trust the key that modules are signed with. All Modules here select by it. */
  let ours: string;

  beforeAll(async () => {
    cluster = await startPreparedCluster(['native', 'secure-boot'], { withBuilders: false });
    const certificates = [cluster.key.x509];
    const [booted, installed] = await Promise.allSettled([
      startSecureBootNode({ name: 'secure-boot', cluster, certificates }),
      cluster
        .startNode('native')
        .then(() => installOverlay(cluster, kernelRelease, 'buildah', { nodeTrust })),
    ]);
    if (booted.status === 'rejected') throw booted.reason;
    node = booted.value;
    if (installed.status === 'rejected') throw installed.reason;
    witness = await startGuestWitness(cluster, node.name);
    ours = await documentedLabel(cluster.directory);
  }, 900_000);
  afterAll(async () => {
    await node?.[Symbol.asyncDispose]();
    await cluster?.[Symbol.asyncDispose]();
  }, 180_000);

  /** Applies the Module with an image that exists, or that is made by signing another one. */
  async function applyModule(
    images: { readonly image: string; readonly unsigned?: string },
    of: { readonly name: string; readonly moduleName?: string } = { name },
  ): Promise<void> {
    const selector = { [ours]: 'true' };
    const manifest = prebuiltManifest({ ...of, registry: cluster.registry, ...images, selector });
    await cluster.kubectl(['apply', '--filename=-'], manifest);
  }

  async function module(of = name): Promise<Module> {
    return parseModule(await cluster.client.get(modules, { namespace: 'default', name: of }));
  }

  /** What a node is labelled with of what it trusts. */
  async function trustOf(of: string): Promise<Record<string, string>> {
    return onlyTrust((await cluster.client.get(nodes, { name: of })).metadata.labels ?? {});
  }

  /** The loaders of a Module, which are on no other node. */
  async function loaders(of = name): Promise<Pod[]> {
    const labels = [`kmm.node.kubernetes.io/module.name=${of}`, 'kmm.node.kubernetes.io/role=module-loader'];
    const labelSelector = labels.join(',');
    const found = await listAll(cluster.client, pods, { namespace: 'default', labelSelector });
    expect(found.filter(({ spec }) => (spec?.nodeName ?? node.name) !== node.name)).toEqual([]);
    return found;
  }

  /** Waits until a Module reports that an image of a repository is loaded. */
  async function untilReported(repository: string, of = name): Promise<void> {
    await untilHolds(cluster, async () => {
      const { status } = await module(of);
      expect(status?.kernels?.[0]?.image).toContain(`/${repository}:`);
      expect(status?.conditions).toContainEqual(
        expect.objectContaining({ type: 'Ready', status: 'True', reason: 'Loaded' }),
      );
    });
  }

  async function untilDegraded(reason: string, message: RegExp, of = name): Promise<void> {
    await untilHolds(cluster, async () => {
      const said = { type: 'Degraded', status: 'True', reason };
      expect((await module(of)).status?.conditions).toContainEqual(
        expect.objectContaining({ ...said, message: expect.stringMatching(message) as unknown }),
      );
    });
  }

  it(
    'is labelled with Secure Boot, lockdown, and the keys that the kernel has loaded',
    async () => {
      const labels = await untilHolds(cluster, async () => {
        const found = await trustOf(node.name);
        expect(found).not.toEqual({});
        return found;
      });
      const enforced = await witness.run('cat', '/sys/module/module/parameters/sig_enforce');
      expect(labels).toEqual({
        'trust.kmm.sigs.x-k8s.io/secure-boot': 'true',
        'trust.kmm.sigs.x-k8s.io/lockdown': 'integrity',
        'trust.kmm.sigs.x-k8s.io/sig-enforce': String(enforced.trim() === 'Y'),
        'trust.kmm.sigs.x-k8s.io/signature-required': 'true',
        ...labelsOfLoadedKeys(await witness.kernelLog()),
      });
      expect(labels).toHaveProperty([ours], 'true');
      expect(await trustOf('native')).not.toHaveProperty([ours]);
    },
    limit,
  );

  it(
    'refuses a module that is not signed, and all say what modprobe and the kernel said',
    async () => {
      await pushDriver(cluster.repository('example/unsigned'), await builtModule());
      await applyModule({ image: 'example/unsigned' });
      const words = /secure-boot: .*could not insert 'hello': Key was rejected.*unsigned module is rejected/;
      await untilDegraded('LoadFailed', words);
      expect(await cluster.kubectl(['get', 'module', name, '--output=wide'])).toMatch(words);
      const [loader] = await loaders();
      const [status] = loader?.status?.containerStatuses ?? [];
      const end = status?.state?.terminated ?? status?.lastState?.terminated;
      expect(end?.message).toMatch(/Key was rejected by service[^]*Loading of unsigned module is rejected/);
      expect(await witness.kernelLog()).toContain('Loading of unsigned module is rejected');
      expect(await witness.loaded('hello')).toBeUndefined();
    },
    limit,
  );

  it(
    'loads it once it is signed, in a pod, where the key is trusted and nowhere else',
    async () => {
      await applyModule({ image: 'example/driver', unsigned: 'example/unsigned' });
      await untilReported('example/driver');
      expect((await module()).status?.moduleLoader).toMatchObject({ nodesMatchingSelectorNumber: 1 });
      // Out of tree, and not the E of an unsigned module.
      expect(await witness.loaded('hello')).toEqual({ taint: 'O', version: '1.0' });
      expect(await witness.kernelLog()).toContain('hello: greetings, world');
    },
    limit,
  );

  it('loads it with a pod that idles in less than three megabytes', async () => {
    const [loader] = await loaders();
    expect(await witness.memoryOf(loader)).toBeLessThan(3 * 2 ** 20);
  });

  it(
    'loads it again after a power cut',
    async () => {
      await node.powerCycle();
      await untilHolds(cluster, async () => {
        expect(await witness.loaded('hello')).toEqual({ taint: 'O', version: '1.0' });
        expect((await module()).status?.moduleLoader).toMatchObject({ availableNumber: 1 });
      });
      await untilReported('example/driver');
    },
    limit,
  );

  it(
    'replaces it by a version of an image without programs, and reports that only when the old one is gone',
    async () => {
      const unsigned = 'example/second-unsigned';
      await pushDriver(cluster.repository(unsigned), await secondVersion(), { fromScratch: true });
      await applyModule({ image: 'example/second', unsigned });
      await untilReported('example/second');
      expect(await witness.loaded('hello')).toEqual({ taint: 'O', version: '2.0' });
    },
    limit,
  );

  it(
    'mounts images where it is told to, also ones without programs',
    async () => {
      await reconfigureOverlay(cluster, kernelRelease, 'buildah', {
        nodeTrust,
        loader: { imageVolumes: 'always' },
      });
      await untilHolds(cluster, async () => {
        const [loader, ...more] = await loaders();
        expect(more).toEqual([]);
        expect(loader?.spec?.initContainers ?? []).toEqual([]);
        const mounted = loader?.spec?.volumes?.map(({ image }) => image?.reference) ?? [];
        expect(mounted).toContainEqual(expect.stringMatching(/\/example\/second.*@sha256:/));
        expect(loader?.status?.conditions).toContainEqual(
          expect.objectContaining({ type: 'Ready', status: 'True' }),
        );
      });
      await untilReported('example/second');
      expect(await witness.loaded('hello')).toEqual({ taint: 'O', version: '2.0' });
    },
    limit,
  );

  it(
    'unloads modules whose Modules are deleted, as soon as nothing uses them',
    async () => {
      const directory = join('lib/modules', kernelRelease, 'kernel/drivers/net/team');
      const kernel = await unpackedPackage(`linux-image-${kernelRelease}`);
      const bytes = await readFile(join(kernel, directory, 'team.ko'));
      await pushDriver(cluster.repository('example/team'), bytes, { name: 'team', fromScratch: true });
      await applyModule({ image: 'example/team' }, { name: 'team', moduleName: 'team' });
      await untilReported('example/team', 'team');
      await witness.run('insmod', join('/', directory, user.file));

      await cluster.kubectl(['delete', 'module', 'team', name, '--wait=false']);
      await cluster.kubectl(['wait', 'module', name, '--for=delete', '--timeout=400s']);
      expect(await witness.loaded('hello')).toBeUndefined();
      await untilDegraded('UnloadFailed', /module is in use by team_mode_random/, 'team');
      expect(await witness.loaded('team')).toBeDefined();

      await witness.run('rmmod', user.name);
      await cluster.kubectl(['wait', 'module', 'team', '--for=delete', '--timeout=400s']);
      expect(await witness.loaded('team')).toBeUndefined();
      await untilHolds(cluster, async () => {
        expect([...(await loaders()), ...(await loaders('team'))]).toEqual([]);
      });
    },
    limit,
  );
});

/** The module as another build of it would be. */
async function secondVersion(): Promise<Buffer> {
  const bytes = Buffer.from(await builtModule());
  for (const [from, to] of [
    ['\0version=1.0\0', '\0version=2.0\0'],
    ['\0srcversion=A', '\0srcversion=B'],
  ] as const) {
    const at = bytes.indexOf(from);
    if (at < 0) throw new Error(`the module has no ${from}`);
    bytes.write(to, at);
  }
  return bytes;
}
