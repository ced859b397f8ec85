import type { BootModuleConfigSpec } from '../../api/boot-module-config.ts';
import { nonEmpty } from '../../api/schema/resource.ts';
import { scriptPaths, scripts } from './scripts.ts';

/** The version of Ignition's configuration that every OpenShift since 4.6 reads. */
const ignitionVersion = '3.2.0';
/** Images of CRI-O are wiped after an update of the node; with them would go the module's. */
const wipeUnit = 'crio-wipe.service';
const loadUnit = 'replace-kernel-module.service';
const pullUnit = 'pull-kernel-module-image.service';
/** Seconds. */
const loadTimeout = 60;
const pullTimeout = 900;
/** 0755. */
const executable = 0o755;

/** What a boot is to load. */
export interface BootTask {
  readonly spec: BootModuleConfigSpec;
  /** Image with modprobe. */
  readonly workerImage: string;
}

/** Returns the configuration in a MachineConfig (Ignition's specification 3.2). */
export function ignitionOf(task: BootTask): object {
  const { machineConfigName } = task.spec;
  const files = [...scripts].map(([path, content]) => ({
    path,
    mode: executable,
    overwrite: true,
    user: { name: 'root' },
    contents: { source: `data:text/plain;base64,${Buffer.from(content).toString('base64')}` },
  }));
  const units = [
    { name: `${machineConfigName}-${loadUnit}`, enabled: true, contents: loadUnitOf(task) },
    { name: `${machineConfigName}-${pullUnit}`, enabled: true, contents: pullUnitOf(task) },
    { name: wipeUnit, enabled: false, mask: true },
  ];
  return { ignition: { version: ignitionVersion }, storage: { files }, systemd: { units } };
}

/** Returns the policies that let nodes take a MachineConfig up without booting (OpenShift 4.17 and newer). */
export function disruptionPoliciesOf({ machineConfigName }: BootModuleConfigSpec): {
  readonly units: readonly { readonly name: string; readonly actions: readonly object[] }[];
  readonly files: readonly { readonly path: string; readonly actions: readonly object[] }[];
} {
  const actions = [{ type: 'None' }];
  const names = [`${machineConfigName}-${pullUnit}`, `${machineConfigName}-${loadUnit}`, wipeUnit];
  return {
    units: names.map((name) => ({ name, actions })),
    files: [...scripts.keys()].map((path) => ({ path, actions })),
  };
}

/** Returns whether a unit's name is that of the unit that loads a module at boot, ours or one of KMM's tools. */
export function isLoadUnit(name: string): boolean {
  return name === loadUnit || name.endsWith(`-${loadUnit}`);
}

function loadUnitOf(task: BootTask): string {
  const { kernelModuleName, firmwareFilesPath } = task.spec;
  return text([
    '[Unit]',
    'Description=Replace in-tree kernel module with oot kernel module',
    'Before=network-pre.target',
    'Wants=network-pre.target',
    'DefaultDependencies=no',
    'RequiresMountsFor=/var/lib/containers /var/lib/firmware',
    '[Service]',
    ...serviceOf(task, loadTimeout),
    environment('FIRMWARE_FILES_PATH', (firmwareFilesPath ?? '').replace(/\/$/, '')),
    environment('IN_TREE_MODULES_TO_REMOVE', modulesToRemove(task.spec).join(' ')),
    environment('KERNEL_MODULE', kernelModuleName),
    `ExecStart=${scriptPaths.load}`,
  ]);
}

function pullUnitOf(task: BootTask): string {
  return text([
    '[Unit]',
    'Description=Pull oot kernel module image',
    'After=network-online.target',
    'After=NetworkManager-dispatcher.service',
    'DefaultDependencies=no',
    'RequiresMountsFor=/var/lib/containers',
    '[Service]',
    ...serviceOf(task, pullTimeout),
    `ExecStartPre=${scriptPaths.wait}`,
    `ExecStart=${scriptPaths.pull}`,
  ]);
}

function serviceOf({ spec, workerImage }: BootTask, timeout: number): string[] {
  return [
    'User=root',
    'Type=oneshot',
    'PrivateTmp=yes',
    'RemainAfterExit=no',
    `TimeoutSec=${timeout}`,
    // The cluster's proxy, which the Machine Config Operator writes.
    'EnvironmentFile=-/etc/mco/proxy.env',
    environment('KERNEL_MODULE_IMAGE', spec.kernelModuleImage),
    environment('WORKER_IMAGE', workerImage),
  ];
}

function text(lines: readonly string[]): string {
  return [...lines, '[Install]', 'WantedBy=multi-user.target', ''].join('\n');
}

/** Values have been checked: nothing in them is special to systemd. */
function environment(name: string, value: string): string {
  return `Environment="${name}=${value}"`;
}

function modulesToRemove({ inTreeModulesToRemove, inTreeModuleToRemove }: BootModuleConfigSpec): string[] {
  const single = nonEmpty(inTreeModuleToRemove);
  return [...(inTreeModulesToRemove ?? []), ...(single === undefined ? [] : [single])];
}
