import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import {
  deviceClasses,
  modules,
  type DeviceClass,
} from '../../../../src/controller/observe/cluster/resources.ts';
import { ApiClient } from '../../../../src/controller/runtime/api/client.ts';
import { createConnection, loadConfig } from '../../../../src/controller/runtime/api/connection.ts';
import { isApiError } from '../../../../src/controller/runtime/api/errors.ts';
import { apiServerPrograms, startApiServer } from '../../../support/api-server.ts';
import { run } from '../../../deploy/manifests.ts';
import { describeWith } from '../../../support/programs.ts';
import { runController } from '../run-controller.ts';
import { startModuleWorld, type ModuleWorld } from '../module-world.ts';
import { reasonsOf } from '../cluster-objects.ts';

const kernel = '6.1.0-13-amd64';

async function eventually(check: () => Promise<unknown>): Promise<void> {
  await vi.waitFor(check, { timeout: 30_000, interval: 50 });
}

const roleLabel = 'kmm.node.kubernetes.io/role';
const selectors = [{ cel: { expression: "device.driver == 'gpu.example'" } }];
const config = [{ opaque: { driver: 'gpu.example', parameters: { mode: 'fast' } } }];

/** A Module's section for a driver. */
function driver(...classes: readonly object[]): { readonly dra: object } {
  return {
    dra: { driverName: 'gpu.example', container: { image: 'r.example/dra:1' }, deviceClasses: classes },
  };
}

/** The Ready condition of a Module that waits for something of its driver. */
function notReady(reason: string, message: RegExp): unknown {
  return expect.objectContaining({
    type: 'Ready',
    status: 'False',
    reason,
    message: expect.stringMatching(message) as unknown,
  });
}

async function rolesIn(world: ModuleWorld, namespace: string): Promise<string[]> {
  const all = await world.daemonSets(namespace);
  return all.map(({ metadata }) => metadata.labels?.[roleLabel] ?? '').toSorted();
}

describeWith(apiServerPrograms, 'a driver for dynamic resource allocation', () => {
  let world: ModuleWorld;
  beforeAll(async () => {
    world = await startModuleWorld();
    await world.startController();
  });
  afterAll(() => world?.[Symbol.asyncDispose]());

  async function classNamed(name: string): Promise<DeviceClass | undefined> {
    try {
      return await world.client.get(deviceClasses, { name });
    } catch (error) {
      if (!isApiError(error, 'NOT_FOUND')) throw error;
      return undefined;
    }
  }

  async function applyModule(name: string, more: object): Promise<void> {
    await world.apply(name, world.spec(name, {}, more));
  }

  async function prepare(name: string): Promise<void> {
    await world.namespaceWithNode(name, kernel);
    await world.push(world.image(`${name}:${kernel}`));
  }

  it('is deployed with its DeviceClasses, which are labelled as those of KMM', async () => {
    const name = 'deployed';
    await prepare(name);
    await applyModule(name, driver({ name: 'gpu.example', selectors, config }, { name: 'any.example' }));
    await eventually(async () => {
      expect(await rolesIn(world, name)).toEqual(['dra', 'module-loader']);
      expect((await classNamed('gpu.example'))?.spec).toEqual({ selectors, config });
      expect(await classNamed('any.example')).toBeDefined();
    });
    expect((await classNamed('gpu.example'))?.metadata.labels).toMatchObject({
      'kmm.node.kubernetes.io/module.name': 'driver',
      'kmm.node.kubernetes.io/module.namespace': name,
    });
    await world.eventually(name, ({ status }) => {
      expect(status?.dra).toEqual({ nodesMatchingSelectorNumber: 1, desiredNumber: 1, availableNumber: 0 });
    });
  });

  it('has its DeviceClasses changed and deleted with their entries, and keeps what others added', async () => {
    const name = 'deployed';
    const patch = { metadata: { annotations: { 'example.org/note': 'mine' } }, spec: { selectors: [] } };
    await world.client.patch(deviceClasses, { name: 'gpu.example' }, patch);
    await eventually(async () => {
      expect(await classNamed('gpu.example')).toMatchObject({
        metadata: { annotations: { 'example.org/note': 'mine' } },
        spec: { selectors },
      });
    });
    await applyModule(name, driver({ name: 'gpu.example', selectors }));
    await eventually(async () => {
      expect((await classNamed('gpu.example'))?.spec).toEqual({ selectors });
      expect(await classNamed('any.example')).toBeUndefined();
    });
  });

  it('goes with its DeviceClasses when the Module no longer asks for it', async () => {
    const name = 'deployed';
    await applyModule(name, {});
    await eventually(async () => {
      expect(await rolesIn(world, name)).toEqual(['module-loader']);
      expect(await classNamed('gpu.example')).toBeUndefined();
    });
    const { metadata } = await world.eventually(name, ({ status }) => expect(status?.dra).toBeUndefined());
    expect(metadata.finalizers).not.toContain('kmm.sigs.x-k8s.io/device-classes');
  });

  it('leaves the DeviceClass of somebody else alone, says so, and takes the name once it is free', async () => {
    const [name, taken] = ['foreign', 'taken.example'];
    await prepare(name);
    await world.client.create(deviceClasses, { metadata: { name: taken }, spec: {} });
    await applyModule(name, driver({ name: taken, selectors }));
    await world.eventually(name, ({ status }) => {
      expect(status?.conditions).toContainEqual(
        notReady('ForeignDeviceClass', /^The DeviceClass taken\.example is there, but not of this Module/),
      );
    });
    expect((await classNamed(taken))?.spec).toEqual({});
    await world.events(name, (events) => {
      expect(reasonsOf(events).filter((reason) => reason === 'ForeignDeviceClass')).toHaveLength(1);
    });
    await world.client.delete(deviceClasses, { name: taken });
    await eventually(async () => expect((await classNamed(taken))?.spec).toEqual({ selectors }));
  });

  it('is deployed, though not ready, where the API server refuses a DeviceClass', async () => {
    const name = 'refused';
    await prepare(name);
    await applyModule(name, driver({ name: 'wrong.example', selectors: [{ cel: { expression: '1 +' } }] }));
    await world.eventually(name, ({ status }) => {
      expect(status?.conditions).toContainEqual(
        notReady('DeviceClassRefused', /refuses the DeviceClass wrong\.example .*expression/),
      );
    });
    await eventually(async () => expect(await rolesIn(world, name)).toEqual(['dra', 'module-loader']));
  });

  it('has its DeviceClasses deleted with the Module, before anything else', async () => {
    const name = 'deleted';
    await prepare(name);
    await applyModule(name, driver({ name: 'deleted.example' }));
    await eventually(async () => expect(await classNamed('deleted.example')).toBeDefined());
    await eventually(async () => expect(await rolesIn(world, name)).toEqual(['dra', 'module-loader']));
    await world.client.delete(modules, { namespace: name, name: 'driver' });
    await eventually(async () => {
      expect(await classNamed('deleted.example')).toBeUndefined();
    });
    // The driver is deleted next. It stays until its pods are gone, which nobody sees to here; so does the loader.
    await eventually(async () => {
      const all = await world.daemonSets(name);
      const modes = all.map(({ metadata, spec }) => [
        metadata.labels?.[roleLabel],
        metadata.deletionTimestamp === undefined
          ? spec?.template.metadata?.labels?.['kmm.node.kubernetes.io/loader-mode']
          : 'being deleted',
      ]);
      expect(Object.fromEntries(modes)).toEqual({ dra: 'being deleted', 'module-loader': 'load' });
    });
    const { finalizers } = (await world.module(name)).metadata;
    expect(finalizers).toEqual(['kmm.sigs.x-k8s.io/module-loader']);
  });
});

describeWith([...apiServerPrograms, 'kubectl'], 'an operator whose role is of an earlier version', () => {
  let world: ModuleWorld;
  let stop: () => Promise<void>;
  beforeAll(async () => {
    world = await startModuleWorld();
    stop = runController(await clientWithEarlierRole(world));
  });
  afterAll(async () => {
    await stop?.();
    await world?.[Symbol.asyncDispose]();
  });

  it('says that it may not read DeviceClasses, and goes on once it may', async () => {
    const name = 'forbidden';
    await world.namespaceWithNode(name, kernel);
    await world.push(world.image(`${name}:${kernel}`));
    await world.apply(name, world.spec(name, {}, driver({ name: 'gpu.example' })));
    await world.eventually(name, ({ status }) => {
      expect(status?.conditions).toContainEqual(
        notReady('DeviceClassesForbidden', /may not read DeviceClasses.*ClusterRole of this version/),
      );
    });
    expect(await rolesIn(world, name)).toEqual(['module-loader']);
    await kubectl(
      world,
      'create clusterrolebinding all --clusterrole=cluster-admin --serviceaccount=default:operator',
    );
    await eventually(async () => expect(await rolesIn(world, name)).toEqual(['dra', 'module-loader']));
  });
});

/** Returns a client that may do everything but with DeviceClasses. */
async function clientWithEarlierRole(world: ModuleWorld): Promise<ApiClient> {
  await kubectl(world, 'create serviceaccount operator --namespace=default');
  const resources = ['*.', '*.apps', '*.batch', '*.kmm.sigs.x-k8s.io', '*.events.k8s.io'];
  await kubectl(world, `create clusterrole earlier --verb=* --resource=${resources.join(',')}`);
  await kubectl(
    world,
    'create clusterrolebinding earlier --clusterrole=earlier --serviceaccount=default:operator',
  );
  const kubeconfig = await loadConfig(world.api.kubeconfig);
  const token = (await kubectl(world, 'create token operator --namespace=default')).trim();
  for (const user of kubeconfig.users) Object.assign(user, { token });
  return new ApiClient({
    connection: createConnection(kubeconfig),
    fieldManager: 'kmm-operator',
    userAgent: 'kmm-sign-tests',
  });
}

async function kubectl({ api }: ModuleWorld, command: string): Promise<string> {
  return run('kubectl', [`--kubeconfig=${api.kubeconfig}`, ...command.split(' ')]);
}

describeWith(apiServerPrograms, 'an API server without DeviceClasses', () => {
  let world: ModuleWorld;
  beforeAll(async () => {
    world = await startModuleWorld(
      await startApiServer(undefined, ['--runtime-config=resource.k8s.io/v1=false']),
    );
    await world.startController();
  });
  afterAll(() => world?.[Symbol.asyncDispose]());

  it('gets the module, but no driver, and the Module says why', async () => {
    const name = 'older';
    await world.namespaceWithNode(name, kernel);
    await world.push(world.image(`${name}:${kernel}`));
    await world.apply(name, world.spec(name, {}, driver({ name: 'gpu.example' })));
    const { status } = await world.eventually(name, (module) => {
      expect(module.status?.conditions).toContainEqual(
        notReady('DraNotServed', /does not have resource\.k8s\.io\/v1.*Kubernetes 1\.34 or newer/),
      );
    });
    expect(status?.conditions).toContainEqual(
      expect.objectContaining({ type: 'Degraded', status: 'True', reason: 'DraNotServed' }),
    );
    expect(await rolesIn(world, name)).toEqual(['module-loader']);
    await world.client.delete(modules, { namespace: name, name: 'driver' });
  });
});
