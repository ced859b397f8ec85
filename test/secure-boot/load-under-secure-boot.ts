import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { X509Certificate } from 'node:crypto';
import { boot } from './boot.ts';
import type { GuestFile } from './initial-file-system.ts';
import { kernelRelease } from '../support/debian-kernel.ts';
import { type BootFiles, bootFiles } from './packages.ts';
import { makeSystemPartition } from './system-partition.ts';
import { enrolMachineOwnerKeys } from './variables.ts';

export interface LoadOptions {
  /** Unpacked modules for the newest kernel, tried in this order, each removed again. */
  readonly modules: readonly { readonly name: string; readonly bytes: Buffer }[];
  /** Enrolled as Machine Owner Keys. */
  readonly certificates: readonly X509Certificate[];
}

/** What the kernel did with one module. */
export interface LoadResult {
  readonly name: string;
  readonly loaded: boolean;
  /** Name of the error that insmod got, such as EKEYREJECTED. */
  readonly error: string | null;
  /** Flags of the module in /proc/modules: O is out of tree, E is unsigned. */
  readonly taint: string | null;
  /** What the kernel logged. */
  readonly log: string;
}

const errors: Readonly<Record<number, string>> = {
  2: 'ENOENT',
  8: 'ENOEXEC',
  22: 'EINVAL',
  65: 'ENOPKG',
  74: 'EBADMSG',
  90: 'EMSGSIZE',
  126: 'ENOKEY',
  129: 'EKEYREJECTED',
};
const parameters = 'console=ttyS0 loglevel=4 panic=-1 log_buf_len=1M';
/** A module of Debian's without dependencies, signed by Debian. */
const control = 'drivers/net/dummy.ko';
const supportModules = ['crypto/sha512_generic.ko'];

/**
 * Boots Debian's signed kernel by way of firmware, shim and GRUB under Secure Boot, tries to load each
 * module, and reports. Modules of Debian's own show each time that the machine is what it should be.
 * @throws Error when the boot is not a valid experiment
 */
export async function loadUnderSecureBoot({ modules, certificates }: LoadOptions): Promise<LoadResult[]> {
  const files = await bootFiles();
  const directory = await mkdtemp(join(tmpdir(), 'kmm-sign-secure-boot-'));
  try {
    const genuine = await readFile(join(files.kernelModules, control));
    const controls = [
      { name: 'control: genuine', bytes: genuine },
      { name: 'control: changed', bytes: changed(genuine) },
    ];
    const all = [...controls, ...modules];
    const initial = await guestFiles(files, all);
    const systemPartition = await makeSystemPartition({ directory, files, parameters, initial });
    const variables = join(directory, 'variables.fd');
    const store = await readFile(files.variables);
    const keys = certificates.map(({ raw }) => raw);
    await writeFile(variables, enrolMachineOwnerKeys(store, keys));
    const report = await boot({ directory, firmware: files.firmware, variables, systemPartition });
    const results = all.map(({ name }, number) => readResult(report, number, name));
    checkExperiment(report, results);
    return results.slice(controls.length);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function guestFiles(files: BootFiles, modules: LoadOptions['modules']): Promise<GuestFile[]> {
  const tried = modules.map(({ bytes }, number) => ({
    path: `modules/${padded(number)}.ko`,
    mode: 0o644,
    contents: bytes,
  }));
  const support = supportModules.map((path, number) =>
    file(`support/${number}.ko`, join(files.kernelModules, path), 0o644),
  );
  const mountPoints = ['proc', 'sys', 'dev'].map((path) => ({
    path: `${path}/.keep`,
    mode: 0o644,
    contents: Buffer.alloc(0),
  }));
  return [
    await file('init', join(import.meta.dirname, 'guest-init.sh'), 0o755),
    await file('bin/busybox', files.busybox, 0o755),
    ...mountPoints,
    ...(await Promise.all(support)),
    ...tried,
  ];
}

async function file(path: string, from: string, mode: number): Promise<GuestFile> {
  return { path, mode, contents: await readFile(from) };
}

/** Shells sort names; so that they stay in order, numbers have the same length. */
function padded(number: number): string {
  return String(number).padStart(5, '0');
}

function changed(module: Buffer): Buffer {
  const copy = Buffer.from(module);
  const at = copy.indexOf('license=GPL');
  if (at < 0) throw new Error('The control module has no licence to change');
  copy.write('K', at);
  return copy;
}

function readResult(report: string, number: number, name: string): LoadResult {
  const line = new RegExp(`^@module ${padded(number)} (\\d+) (\\S+) (\\S*)=\\r?$`, 'm').exec(report);
  if (line === null) throw new Error(`The machine stopped before "${name}" was tried`);
  const [, status = '', taint = '', log = ''] = line;
  const code = Number(status);
  return {
    name,
    loaded: code === 0,
    error: code === 0 ? null : (errors[code] ?? `error ${code}`),
    taint: taint === '-' ? null : taint,
    log: Buffer.from(log, 'base64').toString('utf8').trim(),
  };
}

function checkExperiment(report: string, [genuine, tampered]: readonly LoadResult[]): void {
  const fact = (name: string): string => new RegExp(`^@boot ${name} (.*?)\\r?$`, 'm').exec(report)?.[1] ?? '';
  const state = [fact('release'), fact('secure-boot'), fact('lockdown'), fact('enforced')].join(' ');
  if (state !== `${kernelRelease} 1 integrity Y`)
    throw new Error(`The machine is not under Secure Boot: ${state}`);
  if (genuine?.loaded !== true) throw new Error(`Debian's own module was refused: ${genuine?.log ?? ''}`);
  if (tampered?.error !== 'EKEYREJECTED')
    throw new Error(`A changed module of Debian's got ${tampered?.error ?? 'loaded'}`);
}
