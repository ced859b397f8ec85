import { createNodeModulesCache } from '../../../src/controller/node-modules/cache.ts';
import { createNodeModulesController } from '../../../src/controller/node-modules/controller.ts';
import { allCaches, createCaches } from '../../../src/controller/observe/cluster/caches.ts';
import { modules, pods } from '../../../src/controller/observe/cluster/resources.ts';
import type { ApiClient } from '../../../src/controller/runtime/api/client.ts';
import { silentLogger } from '../../../src/shared/logger.ts';
import { startApiServer, type ApiServer } from '../../support/api-server.ts';
import { installCustomResources } from '../../support/custom-resources.ts';
import { createNamespace } from '../module/cluster-objects.ts';

/** The kernel of every node. */
export const kernel = '6.1.0-13-amd64';
const digest = `sha256:${'a'.repeat(64)}`;

/** An API server with the controller of NodeModulesConfigs; the namespace `drivers` is for Modules. */
export interface NodeModulesWorld extends AsyncDisposable {
  readonly api: ApiServer;
  readonly client: ApiClient;
  /** Makes a Module for nodes with the label `for`, whose image is ready. */
  createModule(name: string): Promise<void>;
  /** Makes the pod that has loaded a Module on the node of its name. */
  createLoader(name: string): Promise<void>;
}

export async function startNodeModulesWorld(): Promise<NodeModulesWorld> {
  const api = await startApiServer();
  const client = await api.client();
  await installCustomResources(client);
  await createNamespace(client, 'drivers');
  const stop = startController(await api.client(undefined, 'kmm-operator'));
  return {
    api,
    client,
    async createModule(name) {
      const kernelMappings = [{ regexp: '^.+$', containerImage: 'r.example/driver:v1' }];
      const container = { modprobe: { moduleName: 'hello' }, kernelMappings };
      const key = { namespace: 'drivers', name };
      await client.create(modules, {
        metadata: key,
        spec: { moduleLoader: { container }, selector: { for: name } },
      });
      const kernels = [{ kernelVersion: kernel, architecture: 'amd64', phase: 'Ready', digest }];
      await client.patch(modules, key, { status: { kernels } }, { subresource: 'status' });
    },
    async createLoader(name) {
      const key = { namespace: 'drivers', name: `loader-${name}` };
      const labels = {
        'kmm.node.kubernetes.io/module.name': name,
        'kmm.node.kubernetes.io/role': 'module-loader',
        'kmm.node.kubernetes.io/kernel-version.full': kernel,
      };
      const containers = [{ name: 'module-loader', image: `r.example/driver@${digest}` }];
      await client.create(pods, { metadata: { ...key, labels }, spec: { nodeName: name, containers } });
      await setLoader(client, name, { isReady: true });
    },
    async [Symbol.asyncDispose]() {
      await stop();
      await api[Symbol.asyncDispose]();
    },
  };
}

/** Says what a node's loader is like, as the kubelet does. */
export async function setLoader(
  client: ApiClient,
  name: string,
  { isReady, startedAt = '2026-01-01T00:00:00Z' }: { readonly isReady: boolean; readonly startedAt?: string },
): Promise<void> {
  const conditions = [{ type: 'Ready', status: isReady ? 'True' : 'False' }];
  const container = { name: 'module-loader', image: 'r.example/driver', imageID: '', restartCount: 0 };
  const containerStatuses = [{ ...container, ready: isReady, state: { running: { startedAt } } }];
  const status = { phase: 'Running', conditions, containerStatuses };
  const key = { namespace: 'drivers', name: `loader-${name}` };
  await client.patch(pods, key, { status }, { subresource: 'status' });
}

/** Starts the controller; gives the function that stops it. */
function startController(client: ApiClient): () => Promise<void> {
  const stop = new AbortController();
  const caches = createCaches(client, silentLogger);
  const nodeModules = createNodeModulesCache(client, silentLogger);
  const controller = createNodeModulesController({ client, caches, nodeModules });
  const running = Promise.all([
    ...[...allCaches(caches), nodeModules].map((cache) => cache.run(stop.signal)),
    controller.run({ signal: stop.signal }),
  ]);
  return async () => {
    stop.abort();
    await running;
  };
}
