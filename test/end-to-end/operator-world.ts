import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { parseModule, type Module } from '../../src/api/module/module.ts';
import { builders } from '../../src/builder/builders.ts';
import { daemonSets, jobs, modules, nodes, pods } from '../../src/controller/cluster/resources.ts';
import type { DaemonSet, Job, Pod } from '../../src/controller/cluster/resources.ts';
import type { ApiClient } from '../../src/controller/runtime/api/client.ts';
import { listAll } from '../../src/controller/runtime/api/list.ts';
import { RegistryClient } from '../../src/registry/client.ts';
import type { ImageRepository } from '../../src/registry/image/repository.ts';
import { Secret } from '../../src/shared/secret.ts';
import { createTemporaryDirectory } from '../../src/shared/temporary-directory.ts';
import { renderOverlay } from '../deploy/manifests.ts';
import { clusterPrograms, startCluster } from '../support/cluster/cluster.ts';
import { buildahImage, kanikoImage, kmmSignImage } from '../support/cluster/images.ts';
import type { Kubelet } from '../support/cluster/kubelet.ts';
import { installCustomResources } from '../support/custom-resources.ts';
import { requireProgram, type ProgramName } from '../support/programs.ts';
import { startDockerRegistry, testUser, type TestRegistry } from '../support/registries.ts';
import { eventually } from '../cluster/wait-for.ts';
import { kernelRelease } from '../secure-boot/packages.ts';
import { buildToolsArchive, buildToolsPrograms } from './build-tools.ts';
import { pushImages } from './images.ts';
import { makeKeyPair, type KeyPair } from './key-pair.ts';
import { runOperator, writeKubeconfig, type OperatorProcess } from './operator-process.ts';

/** The real programs that the operator's world takes. */
export const operatorWorldPrograms: readonly ProgramName[] = [
  ...clusterPrograms,
  ...buildToolsPrograms,
  'docker-registry',
  'kubectl',
  'buildah',
  'kaniko',
];

const operatorNamespace = 'kmm-operator-system';
const controllerAccount = 'kmm-operator-controller';
const signImage = 'kmm-sign.example/kmm-sign:v1';
/** What the installation has besides programs and the webhook, which run elsewhere here. */
const installedKinds = [
  'Namespace',
  'ServiceAccount',
  'ClusterRole',
  'ClusterRoleBinding',
  'Role',
  'RoleBinding',
];

/**
 * A cluster that was set up as docs/install.md says, with a private registry. The registry has an image to build
 * modules in (`build-tools`), a small one to put them in (`ubi`), and drivers that their vendor did not sign.
 */
export interface OperatorWorld extends AsyncDisposable {
  readonly client: ApiClient;
  /** Path of a file that lets its user do everything. */
  readonly kubeconfig: string;
  readonly kubelet: Kubelet;
  readonly registry: TestRegistry;
  readonly key: KeyPair;
  /** Runs kubectl as an administrator, and gives what it prints. */
  kubectl(args: readonly string[], input?: string): Promise<string>;
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

/** Starts all but the operator. */
export async function startOperatorWorld(): Promise<OperatorWorld> {
  await using stack = new AsyncDisposableStack();
  const directory = stack.use(await createTemporaryDirectory());
  const tools = await buildToolsArchive();
  const registry = stack.use(await startDockerRegistry({ authentication: 'basic' }));
  const cluster = stack.use(await startCluster({ prepare: installCustomResources }));
  const registryClient = new RegistryClient({
    plainHttp: true,
    credentials: {
      explicit: { username: testUser.username, password: new Secret<string>(testUser.password) },
    },
  });
  stack.defer(() => registryClient.close());
  const client = await cluster.client();
  const repository = (name: string): ImageRepository =>
    registryClient.repository({ registry: registry.host, repository: name });
  await pushImages(repository, tools);
  const kubelet = await cluster.kubelet({
    images: {
      [builders.buildah.defaultImage]: buildahImage(),
      [builders.kaniko.defaultImage]: kanikoImage(),
      [signImage]: kmmSignImage(),
    },
  });
  const key = await makeKeyPair(directory.path);
  const kubectl = async (args: readonly string[], input = ''): Promise<string> => {
    const common = [`--kubeconfig=${cluster.kubeconfig}`, `--cache-dir=${join(directory.path, 'kubectl')}`];
    const running = promisify(execFile)(requireProgram('kubectl'), [...common, ...args]);
    running.child.stdin?.end(input);
    return (await running).stdout;
  };
  await install(kubectl);
  await createSecrets(kubectl, { key, registry });
  const kubeconfig = join(directory.path, 'operator.kubeconfig');
  const token = await kubectl(['create', 'token', controllerAccount, `--namespace=${operatorNamespace}`]);
  await writeKubeconfig(kubeconfig, { like: cluster.kubeconfig, token: token.trim() });
  let started = 0;
  const operators = new AsyncDisposableStack();
  stack.use(operators);
  const owned = stack.move();

  const world: OperatorWorld = {
    client,
    kubeconfig: cluster.kubeconfig,
    kubelet,
    registry,
    key,
    kubectl,
    repository,
    async applyManifest(name, change = (text) => text) {
      const text = await readFile(new URL(`manifests/${name}.yaml`, import.meta.url), 'utf8');
      await kubectl(['apply', '--filename=-'], change(text.replaceAll('REGISTRY', registry.host)));
    },
    async startOperator(configuration = {}) {
      started += 1;
      const operator = await runOperator({
        directory: directory.path,
        namespace: operatorNamespace,
        kubeconfig,
        name: `operator-${started}`,
        configuration: { ...configurationFor(registry), ...configuration },
      });
      operators.defer(() => operator.process.stop());
      return operator;
    },
    module: async (name) => parseModule(await client.get(modules, { namespace: 'default', name })),
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

function selectionOf(module: string, ...more: string[]): { namespace: string; labelSelector: string } {
  const labelSelector = [`kmm.node.kubernetes.io/module.name=${module}`, ...more].join(',');
  return { namespace: 'default', labelSelector };
}

function configurationFor({ host }: TestRegistry): object {
  return {
    job: { gcDelay: '1h', backoffLimit: 0 },
    build: { builder: 'buildah' },
    sign: { image: signImage },
    driverToolkit: { images: { [kernelRelease]: `${host}/build-tools:bookworm` } },
    registry: { checkInterval: '5s' },
  };
}

type Kubectl = OperatorWorld['kubectl'];

/** As docs/install.md says, but for the programs. */
async function install(kubectl: Kubectl): Promise<void> {
  const objects = (await renderOverlay('kubernetes')).filter(({ kind }) => installedKinds.includes(kind));
  const list = JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects });
  await kubectl(['apply', '--server-side', '--filename=-'], list);
  const account = `${operatorNamespace}:${controllerAccount}`;
  await kubectl([
    ...words('create rolebinding kmm-operator-references --namespace default'),
    ...words(`--clusterrole kmm-operator-references --serviceaccount ${account}`),
  ]);
}

/** By the commands of the documents. */
async function createSecrets(
  kubectl: Kubectl,
  { key, registry }: { key: KeyPair; registry: TestRegistry },
): Promise<void> {
  await kubectl([...words('create secret generic my-signing-key'), `--from-file=key=${key.key}`]);
  await kubectl([
    ...words('create secret generic my-signing-key-pub'),
    `--from-file=cert=${key.certificate}`,
  ]);
  await kubectl([
    ...words('create secret docker-registry repo-pull-secret'),
    `--docker-server=${registry.host}`,
    `--docker-username=${testUser.username}`,
    `--docker-password=${testUser.password}`,
  ]);
}

function words(text: string): string[] {
  return text.split(' ');
}
