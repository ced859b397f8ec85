import { execFile } from 'node:child_process';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { ignitionOf, isLoadUnit } from '../../../src/controller/boot-module/machine-config.ts';
import { scripts } from '../../../src/controller/boot-module/scripts.ts';
import { createTemporaryDirectory } from '../../../src/shared/temporary.ts';
import { describeWith } from '../../support/programs.ts';

const spec = {
  machineConfigName: '99-worker-hello',
  machineConfigPoolName: 'worker',
  kernelModuleImage: 'quay.io/vendor/driver',
  kernelModuleName: 'hello',
  inTreeModulesToRemove: ['one', 'two'],
  firmwareFilesPath: '/opt/firmware/',
};

/** The configuration in a MachineConfig, as far as it is looked at here. */
interface Ignition {
  readonly systemd: { readonly units: readonly { readonly name: string; readonly contents?: string }[] };
  readonly storage: { readonly files: readonly { path: string; contents: { source: string } }[] };
}

describeWith(['ignition-validate', 'systemd-analyze', 'bash'], 'what a node boots with', (programs) => {
  const ignition = ignitionOf({ spec, workerImage: 'quay.io/kmm/operator:1' }) as Ignition;

  it('is a configuration that Ignition takes', async () => {
    await using directory = await createTemporaryDirectory();
    const file = join(directory.path, 'config.json');
    await writeFile(file, JSON.stringify(ignition));
    const { stdout, stderr } = await promisify(execFile)(programs['ignition-validate'], [file]);
    expect(stdout + stderr).toBe('');
    await writeFile(file, JSON.stringify({ ...ignition, storage: { files: [{ path: 'relative' }] } }));
    await expect(promisify(execFile)(programs['ignition-validate'], [file])).rejects.toMatchObject({
      stdout: expect.stringContaining('path not absolute'),
    });
  });

  it('has units that systemd takes, and scripts that bash reads', async () => {
    await using directory = await createTemporaryDirectory();
    const root = directory.path;
    const put = async (path: string, content: string): Promise<string> => {
      const file = join(root, path);
      await mkdir(dirname(file), { recursive: true });
      await writeFile(file, content);
      await chmod(file, path.endsWith('.sh') ? 0o755 : 0o644);
      return file;
    };
    for (const { path, contents } of ignition.storage.files) {
      const content = Buffer.from(contents.source.split(',')[1] ?? '', 'base64').toString();
      expect(content).toBe(scripts.get(path));
      await promisify(execFile)(programs.bash, ['-n', await put(path, content)]);
    }
    const units = ignition.systemd.units.filter(({ contents }) => contents !== undefined);
    expect(units.map(({ name }) => isLoadUnit(name))).toEqual([true, false]);
    for (const target of ['multi-user', 'network-pre', 'network-online', 'sysinit', 'basic', 'shutdown']) {
      await put(`/etc/systemd/system/${target}.target`, '[Unit]\n');
    }
    await put(
      '/etc/systemd/system/NetworkManager-dispatcher.service',
      '[Service]\nExecStart=/usr/local/bin/wait-for-dispatcher.sh\n',
    );
    for (const { name, contents = '' } of units) {
      await put(`/etc/systemd/system/${name}`, contents);
    }
    const verify = (...names: string[]) =>
      promisify(execFile)(programs['systemd-analyze'], ['verify', '--man=no', `--root=${root}`, ...names]);
    const { stdout, stderr } = await verify(...units.map(({ name }) => name));
    expect(stdout + stderr).toBe('');
    await put(
      '/etc/systemd/system/wrong.service',
      '[Service]\nType=oneshott\nExecStart=/usr/local/bin/wait-for-dispatcher.sh\n',
    );
    expect((await verify('wrong.service')).stderr).toContain('oneshott');
  });
});
