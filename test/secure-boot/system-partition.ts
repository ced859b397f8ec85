import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type GuestFile, initialFileSystem } from './initial-file-system.ts';
import type { BootFiles } from './packages.ts';

/** What a machine boots from. */
export interface SystemPartitionOptions {
  readonly directory: string;
  readonly files: BootFiles;
  /** Of the kernel. */
  readonly parameters: string;
  /** The initial file system. */
  readonly initial: readonly GuestFile[];
}

/** Makes the directory that becomes the EFI system partition: shim, GRUB, Debian's kernel and an initial file system. */
export async function makeSystemPartition(options: SystemPartitionOptions): Promise<string> {
  const { directory, files, parameters, initial } = options;
  const root = join(directory, 'system');
  await mkdir(join(root, 'EFI/BOOT'), { recursive: true });
  await mkdir(join(root, 'EFI/debian'));
  await copyFile(files.shim, join(root, 'EFI/BOOT/BOOTX64.EFI'));
  await copyFile(files.grub, join(root, 'EFI/BOOT/grubx64.efi'));
  await copyFile(files.kernel, join(root, 'vmlinuz'));
  await writeFile(join(root, 'EFI/debian/grub.cfg'), bootScript(parameters));
  await writeFile(join(root, 'initrd'), initialFileSystem(initial));
  return root;
}

function bootScript(parameters: string): string {
  return `set timeout=0\nlinux /vmlinuz ${parameters}\ninitrd /initrd\nboot\nhalt\n`;
}
