import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { createNodeModulesCache } from '../../../src/controller/node-modules/cache.ts';
import { createNodeModulesController } from '../../../src/controller/node-modules/controller.ts';
import { allCaches, createCaches } from '../../../src/controller/observe/cluster/caches.ts';
import {
  modules,
  nodeModulesConfigs,
  nodes,
  pods,
  type CustomResource,
} from '../../../src/controller/observe/cluster/resources.ts';
import type { ApiClient } from '../../../src/controller/runtime/api/client.ts';
import { silentLogger } from '../../../src/shared/logger.ts';
import { apiServerPrograms, startApiServer, type ApiServer } from '../../support/api-server.ts';
import { installCustomResources } from '../../support/custom-resources.ts';
import { describeWith } from '../../support/programs.ts';
import { createNamespace, createNode } from '../module/cluster-objects.ts';

const kernel = '6.1.0-13-amd64';
const digest = `sha256:${'a'.repeat(64)}`;
const waiting = { timeout: 20_000, interval: 50 };

/** The configuration of the only entry. */
function configOf(half: unknown): unknown {
  return (half as { modules: { config: unknown }[] }).modules[0]?.config;
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

describeWith(apiServerPrograms, 'NodeModulesConfigs', () => {
  let api: ApiServer;
  let client: ApiClient;
  let stop: () => Promise<void>;
  beforeAll(async () => {
    api = await startApiServer();
    client = await api.client();
    await installCustomResources(client);
    await createNamespace(client, 'drivers');
    stop = startController(await api.client(undefined, 'kmm-operator'));
  });
  afterAll(async () => {
    await stop?.();
    await api?.[Symbol.asyncDispose]();
  });

  const of = (name: string): Promise<CustomResource> => client.get(nodeModulesConfigs, { name });
  const eventually = (name: string, check: (found: CustomResource) => void): Promise<CustomResource> =>
    vi.waitFor(async () => {
      const found = await of(name);
      check(found);
      return found;
    }, waiting);

  async function createModule(name: string): Promise<void> {
    const kernelMappings = [{ regexp: '^.+$', containerImage: 'r.example/driver:v1' }];
    const container = { modprobe: { moduleName: 'hello' }, kernelMappings };
    const key = { namespace: 'drivers', name };
    await client.create(modules, {
      metadata: key,
      spec: { moduleLoader: { container }, selector: { for: name } },
    });
    const kernels = [{ kernelVersion: kernel, architecture: 'amd64', phase: 'Ready', digest }];
    await client.patch(modules, key, { status: { kernels } }, { subresource: 'status' });
  }

  async function createLoader(name: string): Promise<void> {
    const key = { namespace: 'drivers', name: `loader-${name}` };
    const labels = {
      'kmm.node.kubernetes.io/module.name': name,
      'kmm.node.kubernetes.io/role': 'module-loader',
      'kmm.node.kubernetes.io/kernel-version.full': kernel,
    };
    const containers = [{ name: 'module-loader', image: `r.example/driver@${digest}` }];
    await client.create(pods, { metadata: { ...key, labels }, spec: { nodeName: name, containers } });
    const conditions = [{ type: 'Ready', status: 'True' }];
    await client.patch(pods, key, { status: { phase: 'Running', conditions } }, { subresource: 'status' });
  }

  it('say what a node should have and has, belong to it, and go with its last Module', async () => {
    const name = 'loads';
    await createNode(client, { name, kernel, labels: { for: name } });
    await createModule(name);
    const entry = { namespace: 'drivers', name, config: { containerImage: 'r.example/driver:v1' } };
    const { metadata } = await eventually(name, ({ spec, status }) => {
      expect(spec).toMatchObject({ modules: [entry] });
      expect(status).toBeUndefined();
    });
    const { metadata: node } = await client.get(nodes, { name });
    expect(metadata.ownerReferences).toMatchObject([{ kind: 'Node', name, uid: node.uid }]);
    await createLoader(name);
    await eventually(name, ({ spec, status }) => {
      expect(status).toMatchObject({ modules: [entry] });
      expect(configOf(status)).toEqual(configOf(spec));
    });
    await client.delete(pods, { namespace: 'drivers', name: `loader-${name}` });
    await client.delete(modules, { namespace: 'drivers', name });
    await vi.waitFor(async () => await expect(of(name)).rejects.toThrow('not found'), waiting);
  });

  it('are written again when somebody changes or deletes them', async () => {
    const name = 'changed';
    await createNode(client, { name, kernel, labels: { for: name } });
    await createModule(name);
    await eventually(name, ({ spec }) => expect(spec).toMatchObject({ modules: [{ name }] }));
    await client.patch(nodeModulesConfigs, { name }, { spec: { modules: [] } });
    await eventually(name, ({ spec }) => expect(spec).toMatchObject({ modules: [{ name }] }));
    await client.delete(nodeModulesConfigs, { name });
    await eventually(name, ({ spec }) => expect(spec).toMatchObject({ modules: [{ name }] }));
  });

  it('of KMM are taken over with what KMM has loaded, and without its labels of other Modules', async () => {
    const name = 'taken';
    const config = {
      kernelVersion: kernel,
      containerImage: 'r.example/driver:v0',
      insecurePull: false,
      modprobe: { moduleName: 'hello' },
    };
    const entry = { namespace: 'drivers', name, serviceAccountName: 'default', config };
    const gone = { 'beta.kmm.node.kubernetes.io/drivers.gone.module-configured': '' };
    await client.create(nodeModulesConfigs, { metadata: { name, labels: gone }, spec: { modules: [entry] } });
    const status = { modules: [{ ...entry, bootId: 'boot-1' }] };
    await client.patch(nodeModulesConfigs, { name }, { status }, { subresource: 'status' });
    await createNode(client, { name, kernel, bootId: 'boot-1', labels: { for: name } });
    await createModule(name);
    const { metadata } = await eventually(name, ({ spec, status: now }) => {
      expect(spec).toMatchObject({ modules: [{ config: { containerImage: 'r.example/driver:v1' } }] });
      expect(now).toMatchObject({ modules: [{ config: { containerImage: 'r.example/driver:v0' } }] });
    });
    expect(metadata.labels).not.toHaveProperty(Object.keys(gone)[0] ?? '');
    await createLoader(name);
    await eventually(name, ({ status: now }) => {
      expect(now).toMatchObject({
        modules: [{ bootId: 'boot-1', config: { containerImage: 'r.example/driver:v1' } }],
      });
    });
  });
});
