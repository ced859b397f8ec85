import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { bootModuleConfigs } from '../../../src/controller/boot-module/cache.ts';
import { machineConfigs } from '../../../src/controller/boot-module/machine-configs.ts';
import { apiServerPrograms } from '../../support/api-server.ts';
import { describeWith } from '../../support/programs.ts';
import {
  loaderImage,
  machineConfigurations,
  startBootModuleWorld,
  type BootModuleWorld,
} from './boot-module-world.ts';

const waiting = { timeout: 20_000, interval: 50 };
const cluster = { name: 'cluster' };
const scripts = ['replace-kernel-module.sh', 'pull-kernel-module-image.sh', 'wait-for-dispatcher.sh'];
const finalizer = 'kmm.node.kubernetes.io/bmc-finalizer';

describeWith(apiServerPrograms, 'a BootModuleConfig', () => {
  let world: BootModuleWorld;
  beforeAll(async () => {
    world = await startBootModuleWorld();
    world.startController();
  });
  afterAll(async () => world?.[Symbol.asyncDispose]());

  /** Units and files for which a change boots no node. */
  async function policies(): Promise<{ units: string[]; files: string[] }> {
    const { spec } = await world.client.get(machineConfigurations, cluster);
    const { units = [], files = [] } =
      (spec as { nodeDisruptionPolicy?: { units?: { name: string }[]; files?: { path: string }[] } })
        .nodeDisruptionPolicy ?? {};
    return { units: units.map(({ name }) => name), files: files.map(({ path }) => path) };
  }

  const remove = async (name: string): Promise<void> => {
    const key = { namespace: 'default', name };
    await world.client.delete(bootModuleConfigs, key);
    await vi.waitFor(async () => {
      await expect(world.client.get(bootModuleConfigs, key)).rejects.toThrow('not found');
    }, waiting);
  };

  it('is refused with a sentence where there are no MachineConfigs, and can be deleted', async () => {
    await world.create('elsewhere');
    await world.eventually('elsewhere', (ready) => {
      expect(ready).toMatchObject({ status: 'False', reason: 'NotOpenShift' });
      expect(ready.message).toMatch(/^This cluster has no MachineConfigs .* that takes OpenShift\./);
    });
    await remove('elsewhere');
  });

  it('becomes a MachineConfig for its pool, and policies that let nodes take it up without booting', async () => {
    await world.stopController();
    await world.becomeOpenShift();
    world.startController();
    const name = '99-worker-hello';
    await world.create(name, { inTreeModulesToRemove: ['one', 'two'], firmwareFilesPath: '/firmware' });
    await world.eventually(name, (ready) => {
      expect(ready).toMatchObject({ status: 'True', reason: 'Written' });
      expect(ready.message).toContain('Nodes of the pool worker load hello from the next time they boot');
    });
    const { metadata, spec } = await world.machineConfig(name);
    expect(metadata.labels).toEqual({ 'machineconfiguration.openshift.io/role': 'worker' });
    expect(spec).toMatchObject({
      config: {
        ignition: { version: '3.2.0' },
        storage: { files: scripts.map((file) => ({ path: `/usr/local/bin/${file}`, mode: 0o755 })) },
        systemd: {
          units: [
            { name: `${name}-replace-kernel-module.service`, enabled: true },
            { name: `${name}-pull-kernel-module-image.service`, enabled: true },
            { name: 'crio-wipe.service', enabled: false, mask: true },
          ],
        },
      },
    });
    const { contents } = (spec as { config: { systemd: { units: { contents: string }[] } } }).config.systemd
      .units[0] ?? { contents: '' };
    for (const [variable, value] of Object.entries({
      KERNEL_MODULE: 'hello',
      KERNEL_MODULE_IMAGE: 'quay.io/vendor/driver',
      WORKER_IMAGE: loaderImage,
      IN_TREE_MODULES_TO_REMOVE: 'one two',
      FIRMWARE_FILES_PATH: '/firmware',
    })) {
      expect(contents).toContain(`\nEnvironment="${variable}=${value}"\n`);
    }
    const { units, files } = await policies();
    expect(units).toEqual([
      `${name}-pull-kernel-module-image.service`,
      `${name}-replace-kernel-module.service`,
      'crio-wipe.service',
    ]);
    expect(files.toSorted()).toEqual(scripts.map((file) => `/usr/local/bin/${file}`).toSorted());
  });

  it('has its MachineConfig written again when somebody changes it, and follows its own changes', async () => {
    const name = '99-worker-hello';
    const config = { ignition: { version: '3.2.0' }, systemd: { units: [] } };
    await world.client.patch(machineConfigs, { name }, { spec: { config } });
    await vi.waitFor(async () => {
      expect(JSON.stringify(await world.machineConfig(name))).toContain('replace-kernel-module.service');
    }, waiting);
    const key = { namespace: 'default', name };
    await world.client.patch(bootModuleConfigs, key, { spec: { workerImage: 'quay.io/other/worker:1' } });
    await vi.waitFor(async () => {
      expect(JSON.stringify(await world.machineConfig(name))).toContain(
        'WORKER_IMAGE=quay.io/other/worker:1',
      );
    }, waiting);
  });

  it('leaves a MachineConfig alone that loads no module, or that is of another one', async () => {
    const spec = {
      config: { ignition: { version: '3.2.0' }, systemd: { units: [{ name: 'chronyd.service' }] } },
    };
    await world.client.create(machineConfigs, { metadata: { name: '00-worker' }, spec });
    await world.create('00-worker');
    await world.eventually('00-worker', (ready) => {
      expect(ready).toMatchObject({ status: 'False', reason: 'ForeignMachineConfig' });
    });
    expect((await world.machineConfig('00-worker')).spec).toMatchObject(spec);
    await world.create('second', { machineConfigName: '99-worker-hello' });
    await world.eventually('second', ({ reason, message }) => {
      expect(reason).toBe('MachineConfigInUse');
      expect(message).toContain('default/99-worker-hello');
    });
  });

  it("takes over the MachineConfig that KMM's tools have written, and the finalizer of KMM", async () => {
    const units = [{ name: 'replace-kernel-module.service', enabled: true, contents: '[Unit]' }];
    const config = { ignition: { version: '3.2.0' }, systemd: { units } };
    await world.client.create(machineConfigs, { metadata: { name: 'day1' }, spec: { config } });
    await world.create('day1', {}, { finalizers: [finalizer] });
    await world.eventually('day1', ({ reason }) => expect(reason).toBe('Written'));
    expect(JSON.stringify(await world.machineConfig('day1'))).toContain('day1-replace-kernel-module.service');
  });

  it('waits until the Machine Config Operator has taken up its policies', async () => {
    const { metadata } = await world.client.get(machineConfigurations, cluster);
    const set = async (names: readonly string[], files: readonly string[]): Promise<void> => {
      const actions = [{ type: 'None' }];
      const clusterPolicies = {
        units: names.map((name) => ({ name, actions })),
        files: files.map((path) => ({ path, actions })),
      };
      await world.client.patch(
        machineConfigurations,
        metadata,
        { status: { observedGeneration: 1, nodeDisruptionPolicyStatus: { clusterPolicies } } },
        { subresource: 'status' },
      );
    };
    await set([], []);
    await world.create('waits');
    await world.eventually('waits', ({ reason }) => expect(reason).toBe('WaitingForPolicies'));
    await expect(world.machineConfig('waits')).rejects.toThrow('not found');
    const { units, files } = await policies();
    await set(units, files);
    await world.eventually('waits', ({ reason }) => expect(reason).toBe('Written'));
    await world.machineConfig('waits');
  });

  it('says which field is wrong, in words for units and scripts that root runs', async () => {
    await world.create('wrong', {
      kernelModuleName: 'hello; reboot',
      kernelModuleImage: 'quay.io/vendor/driver:1.0',
      firmwareFilesPath: '/../etc',
    });
    await world.eventually('wrong', ({ reason, message }) => {
      expect(reason).toBe('InvalidBootModuleConfig');
      expect(message).toContain('spec.kernelModuleName: "hello; reboot" is not the name of a module');
      expect(message).toContain(
        'spec.kernelModuleImage: must be an image with its registry and without a tag',
      );
      expect(message).toContain('spec.firmwareFilesPath: must be an absolute path');
    });
    await expect(world.machineConfig('wrong')).rejects.toThrow('not found');
  });

  it('takes its policies back when it is deleted: those that others share with the last of them', async () => {
    for (const name of ['waits', 'second', '00-worker', 'wrong', 'day1']) await remove(name);
    const { units, files } = await policies();
    expect(units).toContain('99-worker-hello-replace-kernel-module.service');
    expect(units).not.toContain('day1-replace-kernel-module.service');
    expect(files).toHaveLength(scripts.length);
    await remove('99-worker-hello');
    expect(await policies()).toEqual({ units: [], files: [] });
    // As in KMM: without the policies, deleting it boots the nodes of its pool.
    await world.machineConfig('99-worker-hello');
  });
});
