import { afterAll, beforeAll, expect, it } from 'vitest';
import { parseModule, type Module } from '../../src/api/module/module.ts';
import { modules, pods, type Pod } from '../../src/controller/observe/cluster/resources.ts';
import { listAll } from '../../src/controller/runtime/api/list.ts';
import { builtModule } from '../end-to-end/build-tools.ts';
import {
  installedOperatorPrograms,
  installOverlay,
  startPreparedCluster,
  untilHolds,
  type PreparedCluster,
} from '../node/installed-operator.ts';
import { moduleManifest, prebuiltManifest } from '../node/module-manifest.ts';
import { pushDriver } from '../node/driver-image.ts';
import { kernelRelease } from '../support/debian-kernel.ts';
import { describeWith } from '../support/programs.ts';
import { startGuestWitness, type GuestWitness } from '../secure-boot/node/guest-witness.ts';
import {
  secureBootNodePrograms,
  startSecureBootNode,
  type SecureBootNode,
} from '../secure-boot/node/secure-boot-node.ts';

const name = 'driver';
const ready = expect.objectContaining({ type: 'Ready', status: 'True', reason: 'Loaded' }) as unknown;
/** A test waits for builds, pulls and boots without KVM. */
const limit = 900_000;

describeWith([...installedOperatorPrograms, ...secureBootNodePrograms], 'a node under Secure Boot', () => {
  let cluster: PreparedCluster;
  let node: SecureBootNode;
  let witness: GuestWitness;

  beforeAll(async () => {
    cluster = await startPreparedCluster(['native', 'secure-boot']);
    await cluster.startNode('native');
    const certificates = [cluster.key.x509];
    node = await startSecureBootNode({ name: 'secure-boot', cluster, certificates, containerd: 1 });
    // Builds and the operator go to the faster node.
    await cluster.kubectl(['taint', 'node', node.name, 'emulated=true:PreferNoSchedule']);
    await installOverlay(cluster, kernelRelease, 'buildah');
    witness = await startGuestWitness(cluster, node.name);
  }, 900_000);
  afterAll(async () => {
    await node?.[Symbol.asyncDispose]();
    await cluster?.[Symbol.asyncDispose]();
  }, 60_000);

  async function apply(manifest: string): Promise<void> {
    await cluster.kubectl(['apply', '--filename=-'], manifest);
  }

  async function module(): Promise<Module> {
    return parseModule(await cluster.client.get(modules, { namespace: 'default', name }));
  }

  /** The Module's loaders on the node. */
  async function loaders(): Promise<Pod[]> {
    const labels = [
      `kmm.node.kubernetes.io/module.name=${name}`,
      'kmm.node.kubernetes.io/role=module-loader',
    ];
    const found = await listAll(cluster.client, pods, {
      namespace: 'default',
      labelSelector: labels.join(','),
    });
    return found.filter(({ spec }) => spec?.nodeName === node.name);
  }

  async function deleteModule(): Promise<void> {
    await cluster.kubectl(['delete', 'module', name, '--timeout=400s']);
    await untilHolds(cluster, async () => expect(await loaders()).toEqual([]));
  }

  it(
    'refuses a module that is not signed, and its pod says what modprobe and the kernel said',
    async () => {
      await pushDriver(cluster.repository('example/unsigned'), await builtModule());
      await apply(
        prebuiltManifest({ name, registry: cluster.registry, image: 'example/unsigned', node: node.name }),
      );
      await untilHolds(cluster, async () => {
        const said = (await loaders()).flatMap(({ status }) =>
          (status?.containerStatuses ?? []).map(
            ({ state, lastState }) => (state?.terminated ?? lastState?.terminated)?.message,
          ),
        );
        expect(said.join('\n')).toMatch(
          /could not insert 'hello': Key was rejected by service[^]*Loading of unsigned module is rejected/,
        );
      });
      await untilHolds(cluster, async () => {
        expect((await module()).status?.conditions).toContainEqual(
          expect.objectContaining({
            type: 'Degraded',
            status: 'True',
            reason: 'LoadFailed',
            message: expect.stringMatching(
              /secure-boot.*Key was rejected.*unsigned module is rejected/,
            ) as unknown,
          }),
        );
      });
      expect(await witness.kernelLog()).toContain('Loading of unsigned module is rejected');
      expect(await witness.loaded('hello')).toBeUndefined();
      await deleteModule();
    },
    limit,
  );

  it(
    'loads a module that was built and signed in pods',
    async () => {
      const { registry } = cluster;
      await apply(moduleManifest({ name, registry, repository: 'example/driver', node: node.name }));
      await untilHolds(cluster, async () => {
        expect((await module()).status?.conditions).toContainEqual(ready);
      });
      // Out of tree, and not the E of an unsigned module.
      expect(await witness.loaded('hello')).toMatchObject({ taint: 'O', version: '1.0' });
      expect(await witness.kernelLog()).toContain('hello: greetings, world');
    },
    limit,
  );

  it('loads it with a pod that idles in less than two megabytes', async () => {
    const [loader] = await loaders();
    expect(await witness.memoryOf(loader)).toBeLessThan(2 * 2 ** 20);
  });

  it(
    'loads it again after a power cut',
    async () => {
      await node.powerCycle();
      await untilHolds(cluster, async () => {
        expect(await witness.loaded('hello')).toMatchObject({ taint: 'O' });
        expect((await module()).status).toMatchObject({
          moduleLoader: { availableNumber: 1 },
          conditions: expect.arrayContaining([ready]) as unknown,
        });
      });
    },
    limit,
  );

  it(
    'replaces it by another version',
    async () => {
      const unsigned = 'example/second-driver';
      await pushDriver(cluster.repository(unsigned), await secondVersion());
      const image = 'example/driver-2';
      await apply(prebuiltManifest({ name, registry: cluster.registry, image, unsigned, node: node.name }));
      await untilHolds(cluster, async () => {
        expect(await witness.loaded('hello')).toMatchObject({ taint: 'O', version: '2.0' });
        expect((await module()).status?.conditions).toContainEqual(ready);
      });
    },
    limit,
  );

  it(
    'unloads it when it is deleted',
    async () => {
      await deleteModule();
      expect(await witness.loaded('hello')).toBeUndefined();
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
