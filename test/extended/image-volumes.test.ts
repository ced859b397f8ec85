import { afterAll, beforeAll, expect, it } from 'vitest';
import { parseModule } from '../../src/api/module/module.ts';
import { modules, pods, type Pod } from '../../src/controller/observe/cluster/resources.ts';
import { listAll } from '../../src/controller/runtime/api/list.ts';
import { builtModule } from '../end-to-end/build-tools.ts';
import { pushDriver } from '../node/driver-image.ts';
import {
  installedOperatorPrograms,
  installOverlay,
  startPreparedCluster,
  untilHolds,
  type PreparedCluster,
} from '../node/installed-operator.ts';
import { prebuiltManifest } from '../node/module-manifest.ts';
import { kernelRelease } from '../support/debian-kernel.ts';
import { describeWith } from '../support/programs.ts';
import { startGuestWitness, type GuestWitness } from '../secure-boot/node/guest-witness.ts';
import {
  secureBootNodePrograms,
  startSecureBootNode,
  type SecureBootNode,
} from '../secure-boot/node/secure-boot-node.ts';

const name = 'driver';
/** A test waits for pulls and boots without KVM. */
const limit = 900_000;
const programs = [...installedOperatorPrograms, ...secureBootNodePrograms];

describeWith(programs, 'a node under Secure Boot that mounts images', () => {
  let cluster: PreparedCluster;
  let node: SecureBootNode;
  let witness: GuestWitness;

  beforeAll(async () => {
    cluster = await startPreparedCluster(['native', 'secure-boot']);
    await cluster.startNode('native');
    const certificates = [cluster.key.x509];
    node = await startSecureBootNode({ name: 'secure-boot', cluster, certificates, containerd: 2 });
    await cluster.kubectl(['taint', 'node', node.name, 'emulated=true:PreferNoSchedule']);
    await installOverlay(cluster, kernelRelease, 'buildah', { imageVolumes: 'always' });
    witness = await startGuestWitness(cluster, node.name);
  }, 900_000);
  afterAll(async () => {
    await node?.[Symbol.asyncDispose]();
    await cluster?.[Symbol.asyncDispose]();
  }, 60_000);

  async function loaders(): Promise<Pod[]> {
    const labelSelector = 'kmm.node.kubernetes.io/role=module-loader';
    return listAll(cluster.client, pods, { namespace: 'default', labelSelector });
  }

  it(
    'loads a signed module of an image that nothing is copied from',
    async () => {
      await pushDriver(cluster.repository('example/unsigned'), await builtModule());
      const { registry } = cluster;
      const images = { image: 'example/driver', unsigned: 'example/unsigned' };
      await cluster.kubectl(
        ['apply', '--filename=-'],
        prebuiltManifest({ name, registry, ...images, node: node.name }),
      );
      await untilHolds(cluster, async () => {
        const { status } = parseModule(await cluster.client.get(modules, { namespace: 'default', name }));
        expect(status?.conditions).toContainEqual(
          expect.objectContaining({ type: 'Ready', status: 'True', reason: 'Loaded' }),
        );
      });
      expect(await witness.loaded('hello')).toMatchObject({ taint: 'O', version: '1.0' });
      const [loader] = await loaders();
      expect(loader?.spec?.initContainers ?? []).toEqual([]);
      expect(loader?.spec?.volumes?.map(({ image }) => image?.reference)).toContainEqual(
        expect.stringMatching(new RegExp(`^${registry}/example/driver.*@sha256:`)),
      );
    },
    limit,
  );

  it(
    'unloads it when the Module is deleted',
    async () => {
      await cluster.kubectl(['delete', 'module', name, '--timeout=400s']);
      await untilHolds(cluster, async () => expect(await loaders()).toEqual([]));
      expect(await witness.loaded('hello')).toBeUndefined();
    },
    limit,
  );
});
