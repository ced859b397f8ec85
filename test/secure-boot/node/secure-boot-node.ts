import { execFile } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { X509Certificate } from 'node:crypto';
import { isApiError } from '../../../src/controller/runtime/api/errors.ts';
import { nodes } from '../../../src/controller/observe/cluster/resources.ts';
import { kernelRelease } from '../../support/debian-kernel.ts';
import {
  networkConfiguration,
  pluginConfiguration,
  registryConfiguration,
} from '../../support/node/containerd.ts';
import { guestDisk, guestDiskPrograms } from '../../support/node/guest-disk.ts';
import { kubeletConfiguration, untilReady } from '../../support/node/native-node.ts';
import type { RealCluster } from '../../support/node/real-cluster.ts';
import { freePort, startProcess, type RunningProcess } from '../../support/processes.ts';
import { requireProgram } from '../../support/programs.ts';
import { testUser } from '../../support/registries.ts';
import type { GuestFile } from '../initial-file-system.ts';
import { bootFiles, unpackedPackage, type BootFiles } from '../packages.ts';
import { makeSystemPartition } from '../system-partition.ts';
import { enrolMachineOwnerKeys } from '../variables.ts';

/** The real programs that a node under Secure Boot needs. */
export const secureBootNodePrograms = [...guestDiskPrograms, 'qemu-system-x86_64', 'dpkg-deb'] as const;

/** Milliseconds for a machine to become a ready node, without KVM and beside other tests. */
const readyLimit = 300_000;
/** Pods that tolerate any node go to faster ones, if there are. */
const registerWithTaints = [{ key: 'emulated', value: 'true', effect: 'PreferNoSchedule' }];
const bridge = { bridge: 'pods0', podRange: '10.215.0.0/24', gateway: '10.215.0.1' };

/** A virtual machine under Secure Boot, with a kubelet. */
export interface SecureBootNode extends AsyncDisposable {
  readonly name: string;
  /** Cuts the power, switches the machine on again, and waits until the node is ready. */
  powerCycle(): Promise<void>;
  /** Returns the end of what the kernel and the programs wrote to the console. */
  console(): Promise<string>;
}

export interface SecureBootNodeOptions {
  readonly name: string;
  readonly cluster: RealCluster;
  /** Enrolled as Machine Owner Keys. */
  readonly certificates: readonly X509Certificate[];
}

/** Boots a machine, and waits until it is a ready node of the cluster. @throws Error with its console */
export async function startSecureBootNode(options: SecureBootNodeOptions): Promise<SecureBootNode> {
  const { name, cluster } = options;
  const directory = join(cluster.directory, name);
  await mkdir(directory);
  const files = await bootFiles();
  const disk = await guestDisk(await unpackedPackage(`linux-image-${kernelRelease}`));
  const initial = await initialFiles(options, files, disk.bootModules);
  const parameters = 'console=ttyS0 loglevel=4 panic=-1';
  const systemPartition = await makeSystemPartition({ directory, files, parameters, initial });
  const variables = join(directory, 'variables.fd');
  const keys = options.certificates.map(({ raw }) => raw);
  await writeFile(variables, enrolMachineOwnerKeys(await readFile(files.variables), keys));
  const own = join(directory, 'disk');
  await promisify(execFile)('cp', ['--sparse=always', disk.image, own]);
  const drives = { firmware: files.firmware, variables, systemPartition, disk: own };
  // QEMU forwards with the sender's address, which must not be the node's own.
  const port = await freePort();
  await cluster.network.publish(port, cluster.network.guest, kubeletPort);
  const serials = { console: join(directory, 'console'), report: join(directory, 'report') };
  const consoleText = async (): Promise<string> => (await readFile(serials.console, 'latin1')).slice(-6000);
  let machine: RunningProcess | undefined;
  const boot = async (): Promise<void> => {
    const before = await bootId(cluster, name);
    const args = machineOptions(drives, port, serials);
    machine = startProcess(requireProgram('qemu-system-x86_64'), args, { log: join(directory, 'qemu.log') });
    const failure = (): string | undefined => (machine?.exited === true ? machine.output() : undefined);
    try {
      const deadline = performance.now() + readyLimit;
      const isBack = async (): Promise<boolean> => {
        const now = await bootId(cluster, name);
        return now !== undefined && now !== before;
      };
      while (!(await isBack())) {
        if (performance.now() > deadline) throw new Error('its kubelet did not report the boot');
        await sleep(500);
      }
      await untilReady(cluster.client, name, failure, readyLimit);
      checkBoot(await readFile(serials.report, 'latin1'));
    } catch (error) {
      await machine.stop('SIGKILL');
      throw new Error(`${name} did not boot: ${await consoleText()}`, { cause: error });
    }
  };
  await boot();
  return {
    name,
    async powerCycle() {
      await machine?.stop('SIGKILL');
      await boot();
    },
    console: consoleText,
    [Symbol.asyncDispose]: async () => machine?.stop('SIGKILL'),
  };
}

async function bootId({ client }: RealCluster, name: string): Promise<string | undefined> {
  try {
    return (await client.get(nodes, { name })).status?.nodeInfo?.bootID;
  } catch (error) {
    if (!isApiError(error, 'NOT_FOUND')) throw error;
    return undefined;
  }
}

const kubeletPort = 10_250;

function machineOptions(
  files: { firmware: string; variables: string; systemPartition: string; disk: string },
  port: number,
  serials: { console: string; report: string },
): string[] {
  const forward = `hostfwd=tcp:127.0.0.1:${port}-:${kubeletPort}`;
  return [
    // Secure Boot in OVMF needs system management mode, which keeps the variables from the guest.
    ['-machine', 'q35,smm=on', '-global', 'driver=cfi.pflash01,property=secure,value=on'],
    ['-accel', 'tcg,thread=multi', '-cpu', 'qemu64', '-smp', '2', '-m', '2048'],
    ['-nodefaults', '-no-user-config', '-display', 'none', '-monitor', 'none', '-no-reboot'],
    ['-drive', `if=pflash,format=raw,unit=0,readonly=on,file=${files.firmware}`],
    ['-drive', `if=pflash,format=raw,unit=1,file=${files.variables}`],
    ['-drive', `if=none,id=system,format=raw,readonly=on,file=fat:${files.systemPartition}`],
    ['-device', 'virtio-blk-pci,drive=system,bootindex=0'],
    // Only this machine has to survive: the test's.
    ['-drive', `if=none,id=disk,format=raw,cache=unsafe,file=${files.disk}`],
    ['-device', 'virtio-blk-pci,drive=disk'],
    ['-netdev', `user,id=network,${forward}`, '-device', 'virtio-net-pci,netdev=network,romfile='],
    ['-serial', `file:${serials.console}`, '-serial', `file:${serials.report}`],
  ].flat();
}

function checkBoot(report: string): void {
  const fact = (name: string): string => new RegExp(`^@node ${name} (.*?)\\r?$`, 'm').exec(report)?.[1] ?? '';
  const state = [fact('release'), fact('secure-boot'), fact('lockdown')].join(' ');
  if (state !== `${kernelRelease} 1 integrity`) throw new Error(`it is not under Secure Boot: ${state}`);
}

async function initialFiles(
  { name, cluster }: SecureBootNodeOptions,
  files: BootFiles,
  bootModules: readonly string[],
): Promise<GuestFile[]> {
  const { network, registry, pause } = cluster;
  const settings = {
    NAME: name,
    ADDRESS: network.guest,
    PAUSE: pause,
    REGISTRY_USER: `${testUser.username}:${testUser.password}`,
  };
  const kubelet = kubeletConfiguration({
    endpoint: 'unix:///run/containerd/containerd.sock',
    authority: '/etc/node/ca.crt',
    address: '0.0.0.0',
    port: kubeletPort,
    podLogsDir: '/var/log/pods',
  });
  const plugin = pluginConfiguration({
    pause,
    networks: '/etc/node/networks',
    registries: '/etc/node/certs.d',
  });
  const pods = networkConfiguration({ ...bridge, pods: ['10.215.0.10', '10.215.0.199'] });
  const texts = {
    'node/settings': Object.entries(settings)
      .map(([key, value]) => `${key}='${value}'\n`)
      .join(''),
    'node/kubelet.json': JSON.stringify({ ...kubelet, registerWithTaints }),
    'node/containerd.toml': `version = 2\n${plugin}`,
    'node/networks/10-pods.conflist': pods,
    [`node/certs.d/${registry}/hosts.toml`]: registryConfiguration(registry),
    'dev/.keep': '',
    'proc/.keep': '',
    'new/.keep': '',
  };
  const support = join(import.meta.dirname, '../../support/node/guest-init.sh');
  return [
    await fileFrom('init', join(import.meta.dirname, 'boot-init.sh'), 0o755),
    await fileFrom('bin/busybox', files.busybox, 0o755),
    await fileFrom('node/init', support, 0o755),
    await fileFrom('node/kubeconfig', await cluster.kubeconfigOfNode(name, '/etc/node/ca.crt')),
    await fileFrom('node/ca.crt', cluster.authority),
    ...(await Promise.all(bootModules.map((file) => fileFrom(`modules/${basename(file)}`, file)))),
    ...Object.entries(texts).map(([path, text]) => ({ path, mode: 0o644, contents: Buffer.from(text) })),
  ];
}

async function fileFrom(path: string, file: string, mode = 0o644): Promise<GuestFile> {
  return { path, mode, contents: await readFile(file) };
}
