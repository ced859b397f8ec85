import { readFile } from 'node:fs/promises';
import { type Module, parseModule } from '../../src/api/module/module.ts';
import {
  type DaemonSet,
  daemonSets,
  type Job,
  jobs,
  modules,
  nodes,
  type Pod,
  pods,
} from '../../src/controller/observe/cluster/resources.ts';
import type { ApiClient } from '../../src/controller/runtime/api/client.ts';
import { listAll } from '../../src/controller/runtime/api/list.ts';
import type { ImageRepository } from '../../src/registry/image/repository.ts';
import { createTemporaryDirectory } from '../../src/shared/temporary.ts';
import { eventually } from '../cluster/wait-for.ts';
import type { LocalImage } from '../support/cluster/images.ts';
import type { Kubelet } from '../support/cluster/kubelet.ts';
import { installCustomResources } from '../support/custom-resources.ts';
import { kernelRelease } from '../support/debian-kernel.ts';
import type { ProgramName } from '../support/programs.ts';
import type { TestRegistry } from '../support/registries.ts';
import {
  installedClusterPrograms,
  type Kubectl,
  signImage,
  startInstalledCluster,
} from './installed-cluster.ts';
import { type KeyPair, makeKeyPair } from './key-pair.ts';
import { allowReferences, createPullSecret, createSigningSecrets } from './module-secrets.ts';
import type { OperatorProcess } from './operator-process.ts';
import { privateRegistryPrograms, startPrivateRegistry } from './private-registry.ts';

/** The real programs that the operator's world takes. */
export const operatorWorldPrograms: readonly ProgramName[] = [
  ...installedClusterPrograms,
  ...privateRegistryPrograms,
];

/** A cluster that was set up as docs/install.md says, with a private registry. */
export interface OperatorWorld extends AsyncDisposable {
  readonly client: ApiClient;
  /** Path of a file that lets its user do everything. */
  readonly kubeconfig: string;
  readonly kubelet: Kubelet;
  readonly registry: TestRegistry;
  readonly key: KeyPair;
  readonly kubectl: Kubectl;
  /** Applies a file of `manifests`, with the registry's name in it, and changed as `change` does. */
  applyManifest(name: string, change?: (text: string) => string): Promise<void>;
  /** Starts kmm-operator with the rights that the installation gives it, and more configuration. */
  startOperator(configuration?: object): Promise<OperatorProcess>;
  repository(name: string): ImageRepository;
  module(name: string): Promise<Module>;
  /** Waits until a Module fulfils a check. */
  eventually(name: string, check: (module: Module) => void): Promise<Module>;
  /** Of a Module. */
  jobs(name: string): Promise<Job[]>;
  daemonSets(name: string): Promise<DaemonSet[]>;
  pods(name: string, role: string): Promise<Pod[]>;
  nodeLabels(node: string): Promise<Record<string, string>>;
}

/** Starts all but the operator, with more images that are in no registry. */
export async function startOperatorWorld(
  images?: Readonly<Record<string, LocalImage>>,
): Promise<OperatorWorld> {
  await using stack = new AsyncDisposableStack();
  const directory = stack.use(await createTemporaryDirectory());
  const { registry, repository } = stack.use(await startPrivateRegistry());
  const cluster = stack.use(
    await startInstalledCluster({ overlay: 'kubernetes', prepare: installCustomResources, images }),
  );
  const { client, kubeconfig, kubelet, kubectl, account } = cluster;
  const key = await makeKeyPair(directory.path);
  const namespace = 'default';
  await allowReferences(kubectl, { namespace, account: `${account.namespace}:${account.name}` });
  await createSigningSecrets(kubectl, { namespace, key });
  await createPullSecret(kubectl, { namespace, host: registry.host });
  const owned = stack.move();

  const world: OperatorWorld = {
    client,
    kubeconfig,
    kubelet,
    registry,
    key,
    kubectl,
    repository,
    applyManifest: async (name, change = (text) => text) => {
      await kubectl(['apply', '--filename=-'], change(await readManifest(name, registry.host)));
    },
    startOperator: (configuration = {}) =>
      cluster.startOperator({ ...configurationFor(registry.host), ...configuration }),
    module: async (name) => parseModule(await client.get(modules, { namespace, name })),
    async eventually(name, check) {
      return eventually(async () => {
        const module = await world.module(name);
        check(module);
        return module;
      });
    },
    jobs: (name) => listAll(client, jobs, selectionOf(name)),
    daemonSets: (name) => listAll(client, daemonSets, selectionOf(name)),
    pods: (name, role) => listAll(client, pods, selectionOf(name, `kmm.node.kubernetes.io/role=${role}`)),
    nodeLabels: async (name) => (await client.get(nodes, { name })).metadata.labels ?? {},
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
  return world;
}

/** Text of a file of `manifests`, with the names of the registry and the kernel in it. */
export async function readManifest(name: string, host: string): Promise<string> {
  const text = await readFile(new URL(`manifests/${name}.yaml`, import.meta.url), 'utf8');
  return text.replaceAll('REGISTRY', host).replaceAll('KERNEL_RELEASE', kernelRelease);
}

function selectionOf(module: string, ...more: string[]): { namespace: string; labelSelector: string } {
  const labelSelector = [`kmm.node.kubernetes.io/module.name=${module}`, ...more].join(',');
  return { namespace: 'default', labelSelector };
}

/** Configuration of an operator that builds and signs. */
export function configurationFor(host: string) {
  return {
    job: { gcDelay: '1h', backoffLimit: 0 },
    build: { builder: 'buildah' },
    sign: { image: signImage },
    driverToolkit: { images: { [kernelRelease]: `${host}/build-tools:bookworm` } },
    registry: { checkInterval: '5s' },
  };
}
