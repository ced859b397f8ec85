import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import {
  copyFile,
  cp,
  mkdir,
  mkdtemp,
  readFile,
  readdir,
  rename,
  rm,
  stat,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { kernelRelease } from '../debian-kernel.ts';
import { cacheDirectory, requireProgram } from '../programs.ts';
import { makeNodeRoot } from './debian-images.ts';

/** The real programs that the disk is made with, besides those of its images. */
export const guestDiskPrograms = [
  'kubelet',
  'containerd-2',
  'containerd-2-shim',
  'depmod',
  'mkfs.ext4',
] as const;

const run = promisify(execFile);
const size = 4 * 2 ** 30;
/** Parts of the kernel's modules that a node may need. */
const moduleDirectories = ['crypto', 'lib', 'fs', 'net', 'drivers/block', 'drivers/net', 'drivers/virtio'];
/** What the root's file system needs. */
const bootModules = ['virtio_pci', 'virtio_blk', 'crc32c_generic', 'ext4'];

/** The disk of a node with Debian's newest kernel: kubelet and containerd 2. */
export interface GuestDisk {
  /** Raw image of an ext4 file system. */
  readonly image: string;
  /** The modules to load before it can be mounted, in this order. */
  readonly bootModules: readonly string[];
}

/** Makes the disk, or finds it in the cache. `kernel` is an unpacked package of the kernel. */
export async function guestDisk(kernel: string): Promise<GuestDisk> {
  const directory = join(cacheDirectory, 'node-disks');
  const made = join(directory, `${kernelRelease}-${await contentHash()}`);
  if (!existsSync(made)) {
    await mkdir(directory, { recursive: true });
    // Earlier ones are of no use, and large.
    for (const old of await readdir(directory)) {
      if (!old.startsWith('.')) await rm(join(directory, old), { recursive: true, force: true });
    }
    await make(kernel, directory, made);
  }
  const modules = join(made, 'modules');
  const names = (await readdir(modules)).toSorted();
  return { image: join(made, 'disk'), bootModules: names.map((name) => join(modules, name)) };
}

/** Changes with this file, and with the programs on the disk. */
async function contentHash(): Promise<string> {
  const hash = createHash('sha256').update(await readFile(import.meta.filename));
  for (const name of ['kubelet', 'containerd-2', 'containerd-2-shim'] as const) {
    const { size: bytes, mtimeMs } = await stat(requireProgram(name));
    hash.update(`${name} ${bytes} ${mtimeMs}`);
  }
  return hash.digest('hex').slice(0, 12);
}

async function make(kernel: string, directory: string, made: string): Promise<void> {
  const work = await mkdtemp(join(directory, '.work-'));
  try {
    const root = join(work, 'root');
    await makeNodeRoot(root);
    await addPrograms(root);
    await addModules(kernel, root);
    const unfinished = join(work, 'made');
    await mkdir(join(unfinished, 'modules'), { recursive: true });
    for (const [index, file] of (await modulesToBoot(root)).entries()) {
      await copyFile(
        file,
        join(unfinished, 'modules', `${String(index).padStart(2, '0')}-${basename(file)}`),
      );
    }
    const image = join(unfinished, 'disk');
    await writeFile(image, '');
    await truncate(image, size);
    await run(requireProgram('mkfs.ext4'), ['-q', '-F', '-d', root, image]);
    await rename(unfinished, made).catch((error: unknown) => {
      // Another test was faster.
      if (!existsSync(made)) throw error;
    });
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

async function addPrograms(root: string): Promise<void> {
  const bin = join(root, 'usr/bin');
  await mkdir(join(root, 'etc/node'), { recursive: true });
  await copyFile(requireProgram('kubelet'), join(bin, 'kubelet'));
  await copyFile(requireProgram('containerd-2'), join(bin, 'containerd'));
  await copyFile(requireProgram('containerd-2-shim'), join(bin, 'containerd-shim-runc-v2'));
}

async function addModules(kernel: string, root: string): Promise<void> {
  const [from, to] = [kernel, root].map((parent) => join(parent, 'lib/modules', kernelRelease));
  if (from === undefined || to === undefined) throw new Error('there is no directory of modules');
  await mkdir(join(to, 'kernel'), { recursive: true });
  for (const file of await readdir(from)) {
    if (file.startsWith('modules.')) await copyFile(join(from, file), join(to, file));
  }
  for (const name of moduleDirectories) {
    await cp(join(from, 'kernel', name), join(to, 'kernel', name), { recursive: true });
  }
  await run(requireProgram('depmod'), ['--basedir', root, kernelRelease]);
}

/** The modules that the root's file system needs, dependencies first. */
async function modulesToBoot(root: string): Promise<string[]> {
  const directory = join(root, 'lib/modules', kernelRelease);
  const lines = (await readFile(join(directory, 'modules.dep'), 'utf8')).split('\n');
  const files = bootModules.flatMap((name) => {
    const line = lines.find((one) => one.split(':')[0]?.endsWith(`/${name}.ko`));
    const [file = '', dependencies = ''] = line?.split(':') ?? [];
    return file === '' ? [] : [...dependencies.trim().split(' ').toReversed(), file];
  });
  return [...new Set(files)].filter((file) => file !== '').map((file) => join(directory, file));
}
