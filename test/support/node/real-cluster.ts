import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { ApiClient } from '../../../src/controller/runtime/api/client.ts';
import { RegistryClient } from '../../../src/registry/image/client.ts';
import type { ImageRepository } from '../../../src/registry/image/repository.ts';
import { Secret } from '../../../src/shared/secret.ts';
import { apiServerPrograms, startApiServer } from '../api-server.ts';
import { startControlPlane } from '../cluster/control-plane.ts';
import { makeTar, storeImage, withParents } from '../images.ts';
import { requireProgram } from '../programs.ts';
import { startDockerRegistry, testUser } from '../registries.ts';
import {
  nativeNodePrograms,
  startNativeNode,
  type NativeNode,
  type NativeNodeOptions,
} from './native-node.ts';
import { createNodeNetwork, type NodeNetwork } from './network.ts';

/** The real programs that a cluster with real nodes needs, and root. */
export const realClusterPrograms = [
  ...apiServerPrograms,
  ...nativeNodePrograms,
  'kube-controller-manager',
  'kube-scheduler',
  'kubectl',
  'docker-registry',
  'busybox',
] as const;

/** What is special about a node of this machine. */
export type NodeKind = Pick<NativeNodeOptions, 'containerd' | 'hasPlugins'>;

/** A cluster whose nodes have real kubelets, with a registry of its own. */
export interface RealCluster extends AsyncDisposable {
  readonly client: ApiClient;
  /** Path of a kubeconfig with all permissions. */
  readonly kubeconfig: string;
  /** As in references, from pods, nodes and this process. It requires the test user's password, unless it is open. */
  readonly registry: string;
  readonly directory: string;
  readonly network: NodeNetwork;
  /** PEM file of the authority of the API server. */
  readonly authority: string;
  /** Image of the containers that hold a pod's namespaces. */
  readonly pause: string;
  readonly repository: (name: string) => ImageRepository;
  /** Runs kubectl with all permissions and returns its standard output. */
  readonly kubectl: (args: readonly string[], input?: string) => Promise<string>;
  /** Starts a node of this machine. It stops with the cluster. */
  startNode(name: string, kind?: NodeKind): Promise<NativeNode>;
  /** Writes a kubeconfig with the permissions of a node. `authority` is the path of its file there. */
  kubeconfigOfNode(name: string, authority?: string): Promise<string>;
}

/**
 * Starts a cluster for the nodes with these names. All controllers run, and admission of service accounts. An open registry
 * asks for no password.
 */
export async function startRealCluster(
  names: readonly string[],
  { hasOpenRegistry = false }: { readonly hasOpenRegistry?: boolean } = {},
): Promise<RealCluster> {
  await using stack = new AsyncDisposableStack();
  const directory = await mkdtemp(join(tmpdir(), 'kmm-sign-node-'));
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  const network = stack.use(await createNodeNetwork());
  const api = stack.use(await startApiServer({ ...network, names }));
  await network.publish(api.port);
  await network.publish(api.port, network.apiService, 443);
  const controllers = { controllers: ['*'], rootAuthority: api.authority };
  stack.use(await startControlPlane({ kubeconfig: api.kubeconfig, directory, ...controllers }));
  const authentication = hasOpenRegistry ? 'none' : 'basic';
  const { host } = stack.use(await startDockerRegistry({ authentication }));
  const port = Number(host.split(':')[1]);
  await network.publish(port);
  const registry = `${network.gateway}:${port}`;
  const { username, password } = testUser;
  const explicit = { username, password: new Secret<string>(password) };
  const images = new RegistryClient({ plainHttp: true, credentials: { explicit } });
  stack.defer(() => images.close());
  const repository = (name: string): ImageRepository => images.repository({ registry, repository: name });
  const pause = await pushPause(registry, repository('pause'));
  const client = await api.client();
  const kubeconfigOfNode = async (name: string, authority = api.authority): Promise<string> => {
    const file = join(directory, `${name}.kubeconfig`);
    const text = await readFile(api.kubeconfig, 'utf8');
    const own = text
      .replace(api.token, api.nodeToken(name))
      .replace('127.0.0.1', network.gateway)
      .replace(api.authority, authority);
    await writeFile(file, own, { mode: 0o600 });
    return file;
  };
  const started = stack.use(new AsyncDisposableStack());
  const owned = stack.move();
  return {
    client,
    kubeconfig: api.kubeconfig,
    registry,
    directory,
    network,
    authority: api.authority,
    pause,
    repository,
    kubeconfigOfNode,
    async kubectl(args, input = '') {
      const common = [`--kubeconfig=${api.kubeconfig}`, `--cache-dir=${join(directory, 'kubectl')}`];
      const running = promisify(execFile)(requireProgram('kubectl'), [...common, ...args]);
      // kubectl ends without reading what it does not need.
      running.child.stdin?.on('error', () => undefined).end(input);
      return (await running).stdout;
    },
    async startNode(name, kind = {}) {
      const kubeconfig = await kubeconfigOfNode(name);
      const { authority } = api;
      const options = { directory, network, registry, pause, kubeconfig, authority, client };
      return started.use(await startNativeNode({ name, ...options, ...kind }));
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** Pushes the image of the containers that hold a pod's namespaces. */
async function pushPause(registry: string, repository: ImageRepository): Promise<string> {
  const busybox = await readFile(requireProgram('busybox'));
  const entries = withParents('bin/sleep', busybox, { mode: 0o755 });
  const config = { config: { Cmd: ['/bin/sleep', 'infinity'] } };
  await storeImage(repository, { layers: [{ tar: await makeTar(entries) }], config }, 'v1');
  return `${registry}/pause:v1`;
}
