import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { kernelRelease } from '../support/debian-kernel.ts';
import { cacheDirectory, requireProgram } from '../support/programs.ts';

const run = promisify(execFile);

/** Where a package is, once it is in the cache. */
export function unpackedPackagePath(name: string): string {
  return join(cacheDirectory, 'debian', name);
}

/**
 * Downloads a Debian package and unpacks it in the cache; nothing is installed. The folder appears only
 * when it is complete, so tests that run at the same time do not disturb each other.
 */
export async function unpackedPackage(name: string): Promise<string> {
  const unpacked = unpackedPackagePath(name);
  const complete = join(unpacked, '.complete');
  if (existsSync(complete)) return unpacked;
  await mkdir(join(cacheDirectory, 'debian'), { recursive: true });
  const work = await mkdtemp(join(cacheDirectory, 'debian', '.work-'));
  try {
    await run(requireProgram('apt-get'), ['--quiet', 'download', name], { cwd: work });
    const archive = (await readdir(work)).find((file) => file.endsWith('.deb'));
    if (archive === undefined) throw new Error(`apt-get downloaded no package ${name}`);
    await run(requireProgram('dpkg-deb'), ['--extract', join(work, archive), join(work, 'root')]);
    await writeFile(join(work, 'root', '.complete'), '');
    await rm(unpacked, { recursive: true, force: true });
    await rename(join(work, 'root'), unpacked).catch((error: unknown) => {
      // Another test was faster.
      if (!existsSync(complete)) throw error;
    });
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  return unpacked;
}

/** Files of the boot chain, each signed by whom the one before it trusts. */
export interface BootFiles {
  readonly firmware: string;
  /** The firmware's variables with Microsoft's keys enrolled. */
  readonly variables: string;
  readonly shim: string;
  readonly grub: string;
  readonly kernel: string;
  readonly kernelModules: string;
  readonly busybox: string;
}

/** Gets everything that a boot needs but QEMU. */
export async function bootFiles(): Promise<BootFiles> {
  const names = [
    'ovmf',
    'shim-signed',
    'grub-efi-amd64-signed',
    `linux-image-${kernelRelease}`,
    'busybox-static',
  ];
  const [ovmf = '', shim = '', grub = '', kernel = '', busybox = ''] = await Promise.all(
    names.map(unpackedPackage),
  );
  return {
    firmware: join(ovmf, 'usr/share/OVMF/OVMF_CODE_4M.secboot.fd'),
    variables: join(ovmf, 'usr/share/OVMF/OVMF_VARS_4M.ms.fd'),
    shim: join(shim, 'usr/lib/shim/shimx64.efi.signed'),
    grub: join(grub, 'usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed'),
    kernel: join(kernel, `boot/vmlinuz-${kernelRelease}`),
    kernelModules: join(kernel, `lib/modules/${kernelRelease}/kernel`),
    busybox: join(busybox, 'bin/busybox'),
  };
}
