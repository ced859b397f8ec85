import { execFile } from 'node:child_process';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { scriptPaths, scripts } from '../../../src/controller/boot-module/scripts.ts';
import { createTemporaryDirectory } from '../../../src/shared/temporary.ts';
import { requireProgram } from '../../support/programs.ts';

/** What a script has said, and how it has ended. */
export interface Said {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A machine whose /var/lib is a directory, with the real Podman; systemctl only remembers what it was told. */
export interface NodeForScripts extends AsyncDisposable {
  /** The node's /var/lib. */
  readonly varLib: string;
  run(script: keyof typeof scriptPaths, environment: Readonly<Record<string, string>>): Promise<Said>;
  podman(...args: readonly string[]): Promise<string>;
  /** What systemctl was told to do, and what `show` answers. */
  systemctl(): Promise<string>;
}

const programsFolder = 'bin';

/** @param registry that may be used without TLS */
export async function startNodeForScripts(registry: string): Promise<NodeForScripts> {
  const directory = await createTemporaryDirectory();
  const at = (...names: string[]): string => join(directory.path, ...names);
  for (const name of [programsFolder, 'var-lib/kubelet', 'var-lib/containers', 'scripts']) {
    await mkdir(at(name), { recursive: true });
  }
  await writeFile(at('var-lib/kubelet/config.json'), '{"auths":{}}');
  await writeFile(at('registries.conf'), `[[registry]]\nlocation = "${registry}"\ninsecure = true\n`);
  await writeFile(at('systemctl.log'), '');
  const systemctl = ['#!/bin/sh', `echo "$*" >>${at('systemctl.log')}`, 'case $* in'];
  const states = ['*LoadState) echo loaded;;', '*Result) echo success;;', '*ActiveState) echo inactive;;'];
  await writeProgram(at(programsFolder, 'systemctl'), [...systemctl, ...states, 'esac']);
  // Podman's own limits are more than what some machines that run tests may have.
  await writeFile(
    at('containers.conf'),
    '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]\n',
  );
  const common = [`--root=${at('storage')}`, `--runroot=${at('run')}`, '--storage-driver=vfs'];
  // Without a systemd, its cgroups are not to be had either.
  const always = [...common, '--cgroup-manager=cgroupfs', '--events-backend=file'];
  await writeProgram(at(programsFolder, 'podman'), [
    '#!/bin/sh',
    `exec ${requireProgram('podman')} ${always.join(' ')} "$@"`,
  ]);
  for (const [path, content] of scripts) {
    await writeProgram(at('scripts', path.split('/').at(-1) ?? ''), content.split('\n'));
  }
  // What the scripts do to /var/lib must not be done to this machine's, and it must not boot.
  const systemctlPath = await whereIs('systemctl');
  const inside = [
    `mount --bind ${at('var-lib')} /var/lib`,
    ...(systemctlPath === '' ? [] : [`mount --bind ${at(programsFolder, 'systemctl')} ${systemctlPath}`]),
    'exec "$@"',
  ].join(' && ');
  const surroundings = {
    PATH: `${at(programsFolder)}:/usr/sbin:/usr/bin:/sbin:/bin`,
    CONTAINERS_CONF: at('containers.conf'),
    CONTAINERS_REGISTRIES_CONF: at('registries.conf'),
    HOME: directory.path,
  };
  const exec = async (
    env: Readonly<Record<string, string>>,
    ...command: readonly string[]
  ): Promise<Said> => {
    const args = ['--mount', '--propagation=private', 'sh', '-c', inside, 'sh', ...command];
    try {
      const said = await promisify(execFile)(requireProgram('unshare'), args, {
        env: { ...surroundings, ...env },
      });
      return { code: 0, ...said };
    } catch (error) {
      const { code, stdout, stderr } = error as Said;
      return { code, stdout, stderr };
    }
  };
  return {
    varLib: at('var-lib'),
    run: (script, environment) =>
      exec(environment, 'bash', at('scripts', scriptPaths[script].split('/').at(-1) ?? '')),
    async podman(...args) {
      const { code, stdout, stderr } = await exec({}, 'podman', ...args);
      if (code !== 0) throw new Error(stderr);
      return stdout;
    },
    systemctl: async () => (await promisify(execFile)('cat', [at('systemctl.log')])).stdout,
    async [Symbol.asyncDispose]() {
      await exec({}, 'podman', 'rmi', '--all', '--force');
      await directory[Symbol.asyncDispose]();
    },
  };
}

async function whereIs(program: string): Promise<string> {
  return (await promisify(execFile)('sh', ['-c', `command -v ${program} || :`])).stdout.trim();
}

async function writeProgram(path: string, lines: readonly string[]): Promise<void> {
  await writeFile(path, `${lines.join('\n')}\n`);
  await chmod(path, 0o755);
}
