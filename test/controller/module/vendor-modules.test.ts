import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { modules } from '../../../src/controller/observe/cluster/resources.ts';
import { pathOf } from '../../../src/controller/runtime/api/resource.ts';
import { apiServerPrograms } from '../../support/api-server.ts';
import { describeWith } from '../../support/programs.ts';
import { startModuleWorld, type ModuleWorld } from './module-world.ts';
import { builtByVendorOperator, readyMadeByVendorOperator } from './vendor-modules.ts';

const kernel = '6.1.0-13-amd64';

describeWith(apiServerPrograms, 'a Module that the operator of a vendor generates', () => {
  let world: ModuleWorld;
  beforeAll(async () => {
    world = await startModuleWorld();
    await world.startController();
  });
  afterAll(() => world[Symbol.asyncDispose]());

  /** Creates a Module as a Go client does, which sends fields that are not set. */
  async function create(namespace: string, spec: object): Promise<void> {
    await world.client.request({
      method: 'POST',
      path: pathOf(modules, { namespace }),
      query: { fieldValidation: 'Strict' },
      body: {
        apiVersion: 'kmm.sigs.x-k8s.io/v1beta1',
        kind: 'Module',
        metadata: { namespace, name: 'driver', creationTimestamp: null },
        spec,
        status: { devicePlugin: {}, moduleLoader: {} },
      },
    });
  }

  const roles = async (namespace: string): Promise<string[]> =>
    (await world.daemonSets(namespace))
      .map(({ metadata }) => metadata.labels?.['kmm.node.kubernetes.io/role'] ?? '')
      .toSorted();

  it('is built, and rolled out with its order of loading', async () => {
    const name = 'built-by-vendor';
    await world.namespaceWithNode(name, kernel);
    await create(name, builtByVendorOperator(world.image('vendor'), name));
    await world.build(await world.activeJob(name, 'build'));
    const { status } = await world.eventually(name, (module) => {
      expect(module.status?.kernels).toMatchObject([{ kernelVersion: kernel, phase: 'Ready' }]);
    });
    expect(status?.conditions?.map(({ type }) => type)).not.toContain('FieldsNotActedOn');
    await vi.waitFor(async () => expect(await roles(name)).toEqual(['module-loader']), 20_000);
    const [loader] = await world.daemonSets(name);
    const order = loader?.spec?.template.metadata?.annotations?.['kmm.node.kubernetes.io/modules-order'];
    expect(order).toBe('softdep hello pre: hello-ttm\nsoftdep hello-ttm pre: hello-kcl\n');
  });

  it('has its device plugin wait for the module', async () => {
    const name = 'ready-made-by-vendor';
    await world.namespaceWithNode(name, kernel);
    const digest = await world.push(world.image(`vendor/${name}:2.2.0-${kernel}`));
    await create(name, readyMadeByVendorOperator(world.image('vendor'), name));
    await world.eventually(name, ({ status }) => {
      expect(status?.kernels).toMatchObject([{ kernelVersion: kernel, phase: 'Ready', digest }]);
    });
    await vi.waitFor(
      async () => expect(await roles(name)).toEqual(['device-plugin', 'module-loader']),
      20_000,
    );
    const plugin = (await world.daemonSets(name)).find(({ metadata }) => metadata.name.includes('plugin'));
    expect(plugin?.spec?.template.spec?.nodeSelector).toMatchObject({
      [`kmm.node.kubernetes.io/${name}.driver.ready`]: '',
    });
  });
});
