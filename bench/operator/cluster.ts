import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import pLimit from 'p-limit';
import {
  daemonSets,
  modules,
  nodes,
  secrets,
  type CustomResource,
  type DaemonSet,
} from '../../src/controller/observe/cluster/resources.ts';
import { parseModule } from '../../src/api/module/module.ts';
import type { ApiClient } from '../../src/controller/runtime/api/client.ts';
import { listAll } from '../../src/controller/runtime/api/list.ts';
import { RegistryClient } from '../../src/registry/image/client.ts';
import { createTemporaryDirectory } from '../../src/shared/temporary.ts';
import { signImage } from '../../src/signer/sign-image.ts';
import { createNamespace, setNodeInfo } from '../../test/controller/module/cluster-objects.ts';
import { startApiServer, type ApiServer } from '../../test/support/api-server.ts';
import { installCustomResources } from '../../test/support/custom-resources.ts';
import { storeImage, withParents } from '../../test/support/images.ts';
import { startEmbedded, type TestRegistry } from '../../test/support/registries.ts';
import { createTestKey, helloModule } from '../../test/support/signing.ts';

/** How much there is. */
export interface ClusterSize {
  readonly nodes: number;
  readonly modules: number;
}

const kernels = ['6.1.0-13-amd64', '6.1.0-18-amd64', '6.1.0-21-amd64', '6.1.0-25-amd64', '6.1.0-28-amd64'];
/** One to which a node changes later. Images for it are there. */
const newKernel = '6.1.0-31-amd64';
const [pools, zones, namespaces] = [20, 4, 10];
/** Requests at a time. */
const limit = pLimit(24);

/** A cluster with many nodes and Modules, whose images stand ready in a registry. */
export interface LoadCluster extends AsyncDisposable {
  readonly api: ApiServer;
  readonly client: ApiClient;
  /** DaemonSets that there should be. */
  readonly daemonSets: number;
  /** How many Modules have all their kernels ready, and how many DaemonSets there are. */
  progress(): Promise<{ readonly ready: number; readonly daemonSets: number }>;
  /** Has so many nodes say that they live. */
  heartbeats(count: number): Promise<void>;
  /** Adds a node that no Module selects. */
  addNode(name: string): Promise<void>;
  /** Gives a node a new kernel; waits until there are DaemonSets for it. Gives their number. */
  changeKernel(): Promise<number>;
}

/** Starts an API server and a registry and fills them. */
export async function createLoadCluster(size: ClusterSize): Promise<LoadCluster> {
  const [api, registry] = await Promise.all([startApiServer(), startEmbedded()]);
  const client = await api.client();
  await installCustomResources(client);
  await fillRegistry(client, registry, size.modules);
  await createNodes(client, size.nodes);
  await createModules(client, registry, size.modules);
  const listDaemonSets = (): Promise<DaemonSet[]> => listAll(client, daemonSets);
  return {
    api,
    client,
    daemonSets: Array.from({ length: size.modules }, (_, index) => kernelsOf(index, size.nodes).size).reduce(
      (sum, one) => sum + one,
      0,
    ),
    async progress() {
      const all: CustomResource[] = await listAll(client, modules);
      const ready = all.filter((one) => {
        const { status } = parseModule(one);
        const reported = status?.kernels ?? [];
        return reported.length > 0 && reported.every(({ phase }) => phase === 'Ready');
      });
      return { ready: ready.length, daemonSets: (await listDaemonSets()).length };
    },
    async heartbeats(count) {
      const lastHeartbeatTime = new Date().toISOString();
      const conditions = [
        { type: 'Ready', status: 'True', reason: 'KubeletReady', message: '', lastHeartbeatTime },
      ];
      await each(count, (index) =>
        client.patch(nodes, { name: `node-${index}` }, { status: { conditions } }, { subresource: 'status' }),
      );
    },
    addNode: (name) => createNode(client, { name, labels: {}, kernel: newKernel }),
    async changeKernel() {
      const selecting = Array.from({ length: size.modules }, (_, index) => index).filter((index) =>
        selects(index, 0),
      ).length;
      await setNodeInfo(client, { name: 'node-0', kernel: newKernel });
      for (;;) {
        const found = (await listDaemonSets()).filter(
          ({ metadata }) => metadata.labels?.['kmm.node.kubernetes.io/kernel-version.full'] === newKernel,
        );
        if (found.length === selecting) return found.length;
      }
    },
    async [Symbol.asyncDispose]() {
      await registry.close();
      await api[Symbol.asyncDispose]();
    },
  };
}

/** Every second Module is for a pool, the others are for a zone of several pools. */
function selectorOf(module: number): Record<string, string> {
  return module % 2 === 0 ? { zone: `zone-${(module / 2) % zones}` } : { pool: `pool-${module % pools}` };
}

function labelsOf(node: number): Record<string, string> {
  const pool = node % pools;
  return { pool: `pool-${pool}`, zone: `zone-${pool % zones}` };
}

/** In each pool some nodes have the next kernel already. */
function kernelOf(node: number): string {
  const isUpgraded = Math.floor(node / pools) % 4 === 3;
  return kernels[((node % pools) + (isUpgraded ? 1 : 0)) % kernels.length] ?? '';
}

function selects(module: number, node: number): boolean {
  const labels = labelsOf(node);
  return Object.entries(selectorOf(module)).every(([key, value]) => labels[key] === value);
}

function kernelsOf(module: number, count: number): Set<string> {
  const selected = Array.from({ length: count }, (_, node) => node).filter((node) => selects(module, node));
  return new Set(selected.map(kernelOf));
}

/** Every fourth Module is signed. */
function isSigned(module: number): boolean {
  return module % 4 === 0;
}

async function fillRegistry(client: ApiClient, registry: TestRegistry, count: number): Promise<void> {
  await using folder = await createTemporaryDirectory();
  const key = await createTestKey(folder.path);
  const data = { cert: (await readFile(join(folder.path, 'signing.pem'))).toString('base64') };
  for (let index = 0; index < namespaces; index += 1) {
    await createNamespace(client, `team-${index}`);
    await client.create(secrets, { metadata: { namespace: `team-${index}`, name: 'signing' }, data });
  }
  const registries = new RegistryClient({ plainHttp: true });
  const layers = [{ entries: withParents('opt/lib/modules/hello.ko', await helloModule) }];
  await each(count, async (module) => {
    const repository = registries.repository({ registry: registry.host, repository: `driver-${module}` });
    for (const tag of [...kernels, newKernel]) {
      const { digest } = await storeImage(repository, { layers, annotations: { kernel: tag } }, tag);
      if (!isSigned(module)) continue;
      const source = { repository, selector: { digest } };
      await signImage({ source, destination: { repository, tag }, signer: key.signer });
    }
  });
  await registries.close();
}

async function createNodes(client: ApiClient, count: number): Promise<void> {
  await each(count, (index) =>
    createNode(client, { name: `node-${index}`, labels: labelsOf(index), kernel: kernelOf(index) }),
  );
}

/** A kubelet registers its node with its status. */
async function createNode(
  client: ApiClient,
  { name, labels, kernel }: { name: string; labels: Record<string, string>; kernel: string },
): Promise<void> {
  const nodeInfo = {
    machineID: name,
    systemUUID: name,
    bootID: name,
    containerRuntimeVersion: 'containerd://2.1.0',
    kubeletVersion: 'v1.34.0',
    kubeProxyVersion: '',
    operatingSystem: 'linux',
    osImage: 'Debian GNU/Linux 12 (bookworm)',
    architecture: 'amd64',
    kernelVersion: kernel,
  };
  await client.create(nodes, { metadata: { name, labels }, status: { nodeInfo } });
}

async function createModules(client: ApiClient, registry: TestRegistry, count: number): Promise<void> {
  await each(count, async (module) => {
    const sign = { keySecret: { name: 'signing' }, certSecret: { name: 'signing' } };
    const container = {
      modprobe: { moduleName: 'hello', dirName: '/opt' },
      containerImage: `${registry.host}/driver-${module}:\${KERNEL_FULL_VERSION}`,
      registryTLS: { insecure: true },
      kernelMappings: [{ regexp: '^.+$' }],
      ...(isSigned(module) ? { sign: { ...sign, unsignedImage: `${registry.host}/unsigned:1` } } : {}),
    };
    await client.create<CustomResource>(modules, {
      metadata: { namespace: `team-${module % namespaces}`, name: `driver-${module}` },
      spec: { moduleLoader: { container }, selector: selectorOf(module) },
    });
  });
}

async function each(count: number, work: (index: number) => Promise<unknown>): Promise<void> {
  await Promise.all(Array.from({ length: count }, (_, index) => limit(() => work(index))));
}
