import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { release } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { RegistryClient } from '../../../src/registry/image/client.ts';
import { storeImage } from '../../support/images.ts';
import { describeWith } from '../../support/programs.ts';
import { startEmbedded, type TestRegistry } from '../../support/registries.ts';
import { driverFiles, workerLayer } from './images.ts';
import { startNodeForScripts, type NodeForScripts } from './node-for-scripts.ts';

const programs = ['podman', 'runc', 'unshare', 'bash', 'modprobe', 'depmod'] as const;
/** A file of this machine's kernel, which loading firmware changes. */
const firmwarePath = '/sys/module/firmware_class/parameters/path';
/** As the operator tags images for this machine's kernel. */
const tag = release()
  .replace(/\+$/, '')
  .replaceAll(/[^A-Za-z0-9._-]/g, '_');

describeWith(programs, 'the scripts of a BootModuleConfig', () => {
  let registry: TestRegistry;
  let node: NodeForScripts;
  let before: string;
  let environment: Record<string, string>;
  const repository = (name: string) =>
    new RegistryClient({ plainHttp: true }).repository({ registry: registry.host, repository: name });

  beforeAll(async () => {
    registry = await startEmbedded();
    node = await startNodeForScripts(registry.host);
    before = existsSync(firmwarePath) ? (await readFile(firmwarePath, 'utf8')).trim() : '';
    environment = {
      KERNEL_MODULE_IMAGE: `${registry.host}/vendor/driver`,
      WORKER_IMAGE: `${registry.host}/kmm/operator:1`,
      KERNEL_MODULE: 'hello',
      IN_TREE_MODULES_TO_REMOVE: '',
      FIRMWARE_FILES_PATH: '',
    };
    // The real modprobe says what it would load: no kernel takes this module here.
    const Env = ['PATH=/usr/sbin:/usr/bin:/sbin:/bin', 'MODPROBE_OPTIONS=--dry-run'];
    await storeImage(
      repository('kmm/operator'),
      { layers: [await workerLayer()], config: { config: { Env } } },
      '1',
    );
    await storeImage(repository('vendor/driver'), { layers: [{ entries: await driverFiles() }] }, tag);
  });
  afterAll(async () => {
    if (existsSync(firmwarePath)) await writeFile(firmwarePath, before === '' ? '\0' : before);
    await node?.[Symbol.asyncDispose]();
    await registry?.close();
  });

  it('load nothing at the first boot, pull the images once there is a network, and boot again', async () => {
    expect(await node.run('load', environment)).toMatchObject({
      code: 0,
      stdout: `${environment['KERNEL_MODULE_IMAGE']}:${tag} has not been pulled yet, so hello is loaded at the next boot\n`,
    });
    expect(await node.run('wait', environment)).toMatchObject({ code: 0 });
    const said = await node.run('pull', environment);
    expect(said.code).toBe(0);
    expect(said.stdout).toContain('has been pulled; booting again to load it');
    expect((await node.systemctl()).trim().split('\n').at(-1)).toBe('reboot');
  });

  it('load the module from its image at the next boot, with its options, and boot no more', async () => {
    const { code, stdout, stderr } = await node.run('load', environment);
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toContain(`insmod /module-image/opt/lib/modules/${release()}/hello.ko greeting=moin`);
    expect(stdout).toContain(`hello of ${environment['KERNEL_MODULE_IMAGE']}:${tag} is loaded`);
    const reboots = await node.systemctl();
    expect(await node.run('pull', environment)).toMatchObject({ code: 0 });
    expect(await node.systemctl()).toBe(reboots);
  });

  it('copy the firmware to where the kernel is told to look for it', async () => {
    const { code } = await node.run('load', { ...environment, FIRMWARE_FILES_PATH: '/firmware' });
    expect(code).toBe(0);
    expect(await readFile(join(node.varLib, 'firmware/vendor/hello.bin'), 'utf8')).toBe('firmware');
    expect((await readFile(firmwarePath, 'utf8')).trim()).toBe('/var/lib/firmware');
  });

  it('fail when the image does not have the module, so that the unit does', async () => {
    const { code, stderr } = await node.run('load', { ...environment, KERNEL_MODULE: 'absent' });
    expect(code).toBe(1);
    expect(stderr).toContain('Module absent not found');
    expect(stderr).toContain(`absent of ${environment['KERNEL_MODULE_IMAGE']}:${tag} could not be loaded`);
  });

  it('do not boot a node again and again whose images are lost each time', async () => {
    const lose = () => node.podman('rmi', '--force', `${environment['KERNEL_MODULE_IMAGE']}:${tag}`);
    await lose();
    expect((await node.run('pull', environment)).stdout).toContain('booting again');
    const reboots = await node.systemctl();
    await lose();
    const { code, stderr } = await node.run('pull', environment);
    expect([code, stderr]).toEqual([1, expect.stringContaining('so it does not boot again')]);
    expect(await node.systemctl()).toBe(reboots);
  });

  it('fail and boot nothing when an image cannot be pulled', async () => {
    const reboots = await node.systemctl();
    const absent = { ...environment, KERNEL_MODULE_IMAGE: `${registry.host}/vendor/absent` };
    expect((await node.run('pull', absent)).code).toBe(1);
    expect(await node.systemctl()).toBe(reboots);
  });
});
