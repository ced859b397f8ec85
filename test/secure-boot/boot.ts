import { spawn } from 'node:child_process';
import { watch } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { once } from 'node:events';
import { join } from 'node:path';
import { requireProgram } from '../support/programs.ts';

export interface BootOptions {
  /** Where the serial ports' files go. */
  readonly directory: string;
  readonly firmware: string;
  /** File with the firmware's variables; the machine writes to it. */
  readonly variables: string;
  /** Folder that becomes the EFI system partition. */
  readonly systemPartition: string;
}

/** Without KVM a boot takes 10 to 30 seconds on an idle machine, and a minute with very many modules. */
const limit = 480_000;
/** What shim, GRUB or the firmware say when they refuse what comes next. */
const refused = /grub>|Security Violation|Access Denied|Shell>/i;

/** Boots a machine until it turns itself off, and returns what it wrote to its second serial port. */
export async function boot(options: BootOptions): Promise<string> {
  const console = join(options.directory, 'console');
  const report = join(options.directory, 'report');
  await Promise.all([console, report].map((file) => writeFile(file, '')));
  const machine = spawn(requireProgram('qemu-system-x86_64'), machineOptions(options, console, report), {
    stdio: ['ignore', 'ignore', 'pipe'],
    signal: AbortSignal.timeout(limit),
  });
  let complaints = '';
  machine.stderr.on('data', (chunk: Buffer) => {
    complaints += chunk.toString();
  });
  // A refusal leaves the machine waiting at a prompt for ever.
  const watcher = watch(console, () => {
    void readFile(console, 'latin1').then((text) => refused.test(text) && machine.kill());
  });
  try {
    await once(machine, 'close');
  } catch {
    complaints += `\nThe machine did not end within ${limit / 1000} s`;
  } finally {
    watcher.close();
  }
  const written = await readFile(report, 'latin1');
  if (written.includes('@boot release')) return written;
  const shown = (await readFile(console, 'latin1')).split('\n').slice(-15).join('\n');
  throw new Error(`The kernel did not start: ${complaints}\n${shown}`);
}

function machineOptions(options: BootOptions, console: string, report: string): string[] {
  const { firmware, variables, systemPartition } = options;
  return [
    // Secure Boot in OVMF needs system management mode, which keeps the variables from the guest.
    ['-machine', 'q35,smm=on', '-global', 'driver=cfi.pflash01,property=secure,value=on'],
    ['-accel', 'tcg', '-cpu', 'qemu64', '-smp', '1', '-m', '1024'],
    ['-nodefaults', '-no-user-config', '-display', 'none', '-monitor', 'none', '-no-reboot'],
    ['-drive', `if=pflash,format=raw,unit=0,readonly=on,file=${firmware}`],
    ['-drive', `if=pflash,format=raw,unit=1,file=${variables}`],
    ['-drive', `if=none,id=system,format=raw,readonly=on,file=fat:${systemPartition}`],
    ['-device', 'virtio-blk-pci,drive=system,bootindex=0'],
    ['-serial', `file:${console}`, '-serial', `file:${report}`],
  ].flat();
}
