import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import {
  modules,
  nodeModulesConfigs,
  nodes,
  pods,
  type CustomResource,
} from '../../../src/controller/observe/cluster/resources.ts';
import type { ApiClient } from '../../../src/controller/runtime/api/client.ts';
import { apiServerPrograms } from '../../support/api-server.ts';
import { describeWith } from '../../support/programs.ts';
import { createNode } from '../module/cluster-objects.ts';
import { kernel, startNodeModulesWorld, type NodeModulesWorld } from './node-modules-world.ts';

const waiting = { timeout: 20_000, interval: 50 };

/** The configuration of the only entry. */
function configOf(half: unknown): unknown {
  return (half as { modules: { config: unknown }[] }).modules[0]?.config;
}

describeWith(apiServerPrograms, 'NodeModulesConfigs', () => {
  let world: NodeModulesWorld;
  let client: ApiClient;
  beforeAll(async () => {
    world = await startNodeModulesWorld();
    ({ client } = world);
  });
  afterAll(async () => world?.[Symbol.asyncDispose]());

  const of = (name: string): Promise<CustomResource> => client.get(nodeModulesConfigs, { name });
  const eventually = (name: string, check: (found: CustomResource) => void): Promise<CustomResource> =>
    vi.waitFor(async () => {
      const found = await of(name);
      check(found);
      return found;
    }, waiting);

  it('say what a node should have and has, belong to it, and go with its last Module', async () => {
    const name = 'loads';
    await createNode(client, { name, kernel, labels: { for: name } });
    await world.createModule(name);
    const entry = { namespace: 'drivers', name, config: { containerImage: 'r.example/driver:v1' } };
    const { metadata } = await eventually(name, ({ spec, status }) => {
      expect(spec).toMatchObject({ modules: [entry] });
      expect(status).toBeUndefined();
    });
    const { metadata: node } = await client.get(nodes, { name });
    expect(metadata.ownerReferences).toMatchObject([{ kind: 'Node', name, uid: node.uid }]);
    await world.createLoader(name);
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
    await world.createModule(name);
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
    await world.createModule(name);
    const { metadata } = await eventually(name, ({ spec, status: now }) => {
      expect(spec).toMatchObject({ modules: [{ config: { containerImage: 'r.example/driver:v1' } }] });
      expect(now).toMatchObject({ modules: [{ config: { containerImage: 'r.example/driver:v0' } }] });
    });
    expect(metadata.labels).not.toHaveProperty(Object.keys(gone)[0] ?? '');
    await world.createLoader(name);
    await eventually(name, ({ status: now }) => {
      expect(now).toMatchObject({
        modules: [{ bootId: 'boot-1', config: { containerImage: 'r.example/driver:v1' } }],
      });
    });
  });
});
