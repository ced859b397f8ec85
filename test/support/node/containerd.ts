import { execFile } from 'node:child_process';
import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { env as processEnv } from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { startProcess, type RunningProcess } from '../processes.ts';
import { requireProgram } from '../programs.ts';
import { testUser } from '../registries.ts';
import type { NodeNetwork } from './network.ts';

const run = promisify(execFile);
/** Milliseconds within which containerd must respond. */
const startLimit = 60_000;

/** A containerd of a test's own, with its own files, sockets and network. */
export interface Containerd extends AsyncDisposable {
  readonly endpoint: string;
  /** Runs `ctr` in the namespace of the kubelet's containers. */
  ctr(...args: readonly string[]): Promise<string>;
}

export interface ContainerdOptions {
  readonly directory: string;
  readonly network: NodeNetwork;
  /** Serves images without TLS: `address:port`. */
  readonly registry: string;
  /** Image of the containers that hold a pod's namespaces. */
  readonly pause: string;
  /** 2 has image volumes, and devices of CDI. @default 1, Debian's */
  readonly containerd?: 1 | 2 | undefined;
}

/** Starts containerd with its CRI plugin. Needs root. @throws Error with its log */
export async function startContainerd(options: ContainerdOptions): Promise<Containerd> {
  const { directory, network } = options;
  const at = (name: string): string => join(directory, name);
  const socket = at('containerd.sock');
  await writeConfiguration(options, at);
  const { program, env } = options.containerd === 2 ? await secondVersion(at('bin')) : firstVersion();
  const process = startProcess(program, ['--config', at('containerd.toml')], {
    log: at('containerd.log'),
    env,
  });
  const ctr = async (...args: readonly string[]): Promise<string> => {
    const common = ['--address', socket, '--namespace', 'k8s.io'];
    return (await run(requireProgram('ctr'), [...common, ...args])).stdout;
  };
  await untilItResponds(process, () => ctr('version'));
  // For this image the kubelet has no pull secret.
  const user = `${testUser.username}:${testUser.password}`;
  await ctr('images', 'pull', '--plain-http', `--user=${user}`, options.pause);
  return {
    endpoint: `unix://${socket}`,
    ctr,
    async [Symbol.asyncDispose]() {
      // Shims outlive containerd, so containers end first.
      for (const task of lines(await ctr('tasks', 'list', '--quiet'))) {
        await ctr('tasks', 'delete', '--force', task).catch(() => undefined);
      }
      for (const container of lines(await ctr('containers', 'list', '--quiet'))) {
        await ctr('containers', 'delete', container).catch(() => undefined);
      }
      await process.stop();
      await unmountBelow(directory);
      await run('rm', ['-rf', `/var/lib/cni/networks/${network.bridge}`]);
    },
  };
}

function firstVersion(): { program: string; env: Record<string, string> } {
  return { program: requireProgram('containerd'), env: {} };
}

/** Its shim is found by name, beside Debian's. */
async function secondVersion(bin: string): Promise<{ program: string; env: Record<string, string> }> {
  await mkdir(bin);
  await symlink(requireProgram('containerd-2-shim'), join(bin, 'containerd-shim-runc-v2'));
  return { program: requireProgram('containerd-2'), env: { PATH: `${bin}:${processEnv['PATH'] ?? ''}` } };
}

async function writeConfiguration(
  { network, registry, pause }: ContainerdOptions,
  at: (name: string) => string,
): Promise<void> {
  const cni = at('cni');
  const hosts = at(`certs.d/${registry}`);
  for (const one of [cni, hosts]) await mkdir(one, { recursive: true });
  await writeFile(join(cni, '10-pods.conflist'), networkConfiguration(network));
  await writeFile(join(hosts, 'hosts.toml'), registryConfiguration(registry));
  const own = `root = "${at('root')}"
state = "${at('state')}"
[grpc]
  address = "${at('containerd.sock')}"
[plugins."io.containerd.internal.v1.opt"]
  path = "${at('opt')}"
`;
  const criConfiguration = pluginConfiguration({ pause, networks: cni, registries: at('certs.d') });
  await writeFile(at('containerd.toml'), `version = 2\n${own}${criConfiguration}`);
}

/** Returns the configuration of pods' network: a bridge. */
export function networkConfiguration({
  bridge,
  podRange,
  gateway,
  pods: [rangeStart, rangeEnd],
}: Pick<NodeNetwork, 'bridge' | 'podRange' | 'gateway' | 'pods'>): string {
  const range = { subnet: podRange, rangeStart, rangeEnd, gateway };
  const ipam = { type: 'host-local', ranges: [[range]], routes: [{ dst: '0.0.0.0/0' }] };
  const plugins = [{ type: 'bridge', bridge, ipam }];
  return JSON.stringify({ cniVersion: '1.0.0', name: bridge, plugins });
}

/** Returns what tells containerd that a registry has no TLS. */
export function registryConfiguration(registry: string): string {
  return `server = "http://${registry}"\n[host."http://${registry}"]\n  capabilities = ["pull", "resolve"]\n`;
}

/** Returns the configuration of containerd's CRI plugin, with the directories of its files. */
export function pluginConfiguration({
  pause,
  networks,
  registries,
}: {
  pause: string;
  networks: string;
  registries: string;
}): string {
  return `[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${pause}"
  # Without CAP_SYS_RESOURCE, no process may lower its own.
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "${networks}"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "${registries}"
`;
}

async function untilItResponds(process: RunningProcess, ask: () => Promise<string>): Promise<void> {
  const limit = AbortSignal.timeout(startLimit);
  for (;;) {
    try {
      await ask();
      return;
    } catch (error) {
      if (process.exited || limit.aborted)
        throw new Error(`containerd did not start: ${process.output()}`, { cause: error });
      await sleep(100);
    }
  }
}

/** Unmounts all file systems below a directory, the innermost first. */
export async function unmountBelow(directory: string): Promise<void> {
  const mounts = lines(await readFile('/proc/mounts', 'utf8'))
    .map((line) => (line.split(' ')[1] ?? '').replaceAll(String.raw`\040`, ' '))
    .filter((path) => path.startsWith(`${directory}/`));
  for (const path of mounts.toReversed()) {
    await run(requireProgram('umount'), ['--lazy', path]).catch(() => undefined);
  }
}

function lines(text: string): string[] {
  return text.split('\n').filter((line) => line !== '');
}
