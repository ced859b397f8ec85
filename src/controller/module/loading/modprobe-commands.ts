import type { Modprobe } from '../../../api/module/modprobe.ts';
import { nonEmpty } from '../../../api/schema/resource.ts';
import type { Kernel } from '../../../builder/kernel.ts';

/** Where firmware goes on the node. */
export const firmwareHostDirectory = '/var/lib/firmware';

/** What the commands are made from. */
export interface ModprobeOptions {
  readonly modprobe: Modprobe;
  readonly kernel: Kernel;
  readonly inTreeModulesToRemove: readonly string[];
  /** @default /var/lib/firmware */
  readonly firmwareDirectory?: string;
}

/**
 * The shell command that loads the module: unload in-tree modules that are loaded, copy the firmware, run
 * modprobe. Each step only when the one before worked.
 */
export function loadCommand(options: ModprobeOptions): string {
  const { modprobe, inTreeModulesToRemove, firmwareDirectory = firmwareHostDirectory } = options;
  const firmware = nonEmpty(modprobe.firmwarePath);
  return [
    ...inTreeModulesToRemove.map(unloadInTree),
    ...(firmware === undefined ? [] : [`cp -r ${quote(trimmed(firmware))}/* ${quote(firmwareDirectory)}`]),
    modprobeLoad(options),
  ].join(' && ');
}

/**
 * The shell command that unloads the module: remove the firmware files that the image has, with directories
 * that are empty then, and run modprobe, whatever became of the files.
 */
export function unloadCommand(options: ModprobeOptions): string {
  const { modprobe, firmwareDirectory = firmwareHostDirectory } = options;
  const firmware = nonEmpty(modprobe.firmwarePath);
  if (firmware === undefined) return modprobeUnload(options);
  const host = quote(firmwareDirectory);
  const steps = [
    `cd ${quote(trimmed(firmware))}`,
    `find . ! -type d -exec rm -f ${host}/{} \\;`,
    `find . -mindepth 1 -depth -type d -exec rmdir ${host}/{} \\;`,
  ];
  return `(${steps.join(' && ')}) 2>/dev/null; ${modprobeUnload(options)}`;
}

/** Soft dependencies for modprobe.d, or undefined: each module before the one that is named ahead of it. */
export function softDependencies({ modulesLoadingOrder = [] }: Modprobe): string | undefined {
  if (modulesLoadingOrder.length < 2) return undefined;
  return modulesLoadingOrder
    .slice(1)
    .map((name, index) => `softdep ${modulesLoadingOrder[index] ?? ''} pre: ${name}\n`)
    .join('');
}

/** The kernel lists its modules with underscores, however their files are spelt. */
function unloadInTree(name: string): string {
  const directory = `/sys/module/${name.replaceAll('-', '_')}`;
  return `if [ -d ${quote(directory)} ]; then ${command('modprobe', '-rv', name)}; fi`;
}

function modprobeLoad({ modprobe, kernel }: ModprobeOptions): string {
  if (modprobe.rawArgs?.load !== undefined) return command('modprobe', ...modprobe.rawArgs.load);
  return words(
    'modprobe',
    ...release(modprobe, kernel),
    command(...(modprobe.args?.load ?? ['-v'])),
    command('-d', modprobe.dirName),
    command(nonEmpty(modprobe.moduleName) ?? ''),
    command(...(modprobe.parameters ?? [])),
  );
}

function modprobeUnload({ modprobe, kernel }: ModprobeOptions): string {
  if (modprobe.rawArgs?.unload !== undefined) return command('modprobe', ...modprobe.rawArgs.unload);
  const order = modprobe.modulesLoadingOrder ?? [];
  return words(
    'modprobe',
    ...release(modprobe, kernel),
    command(...(modprobe.args?.unload ?? ['-rv'])),
    command('-d', modprobe.dirName),
    command(...(order.length > 0 ? order : [nonEmpty(modprobe.moduleName) ?? ''])),
  );
}

/**
 * Images name directories by KERNEL_FULL_VERSION, which lacks the `+` that some kernels' releases end in, while
 * modprobe looks for the release. Where only the other directory is there, modprobe is told.
 */
function release({ dirName }: Modprobe, kernel: Kernel): string[] {
  if (kernel.release === kernel.version) return [];
  const directory = quote(`${trimmed(dirName)}/lib/modules/${kernel.release}`);
  return [`$([ -d ${directory} ] || echo -S ${quote(kernel.version)})`];
}

function trimmed(directory: string): string {
  return directory.replace(/(?<=.)\/+$/, '');
}

function words(...parts: readonly string[]): string {
  return parts.filter((part) => part !== '').join(' ');
}

/** Characters that mean nothing to a shell. */
const harmless = /^[A-Za-z0-9_@%+=:,./-]+$/;

/** Quotes a word for a POSIX shell, where it needs quotes (POSIX.1-2017, Shell Command Language, 2.2.2). */
export function quote(word: string): string {
  return harmless.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

/** Quotes words and joins them to a command. */
export function command(...parts: readonly string[]): string {
  return parts.map(quote).join(' ');
}
