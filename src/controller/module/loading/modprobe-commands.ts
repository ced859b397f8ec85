import type { Modprobe } from '../../../api/module/modprobe.ts';
import { nonEmpty } from '../../../api/schema/resource.ts';
import type { Kernel } from '../../../builder/kernel.ts';

/** The directory for firmware on the node. */
export const firmwareHostDirectory = '/var/lib/firmware';

/** The input of the commands. */
export interface ModprobeOptions {
  readonly modprobe: Modprobe;
  readonly kernel: Kernel;
  readonly inTreeModulesToRemove: readonly string[];
  /** @default /var/lib/firmware */
  readonly firmwareDirectory?: string;
}

/**
 * Returns the shell command that loads the module: it unloads in-tree modules that are loaded, copies the
 * firmware, and runs modprobe. Each step only runs if the previous one succeeded.
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
 * Returns the shell command that unloads the module: it removes the image's firmware files from the node,
 * with directories that are then empty, and runs modprobe, even if that failed.
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

/**
 * Returns soft dependencies for modprobe.d, if any: each module is loaded before the one listed ahead of it.
 */
export function softDependencies({ modulesLoadingOrder = [] }: Modprobe): string | undefined {
  if (modulesLoadingOrder.length < 2) return undefined;
  return modulesLoadingOrder
    .slice(1)
    .map((name, index) => `softdep ${modulesLoadingOrder[index] ?? ''} pre: ${name}\n`)
    .join('');
}

/** Returns the command to unload an in-tree module. The kernel lists all names with underscores. */
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
 * Returns modprobe's option for the release. Images name directories by KERNEL_FULL_VERSION, without the `+`
 * at the end of some kernels' releases, but modprobe looks for the full release. If only the other directory
 * exists, modprobe is told to use it.
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

/** Words of characters that are not special in a shell. */
const harmless = /^[A-Za-z0-9_@%+=:,./-]+$/;

/** Quotes a word for a POSIX shell, if necessary (POSIX.1-2017, Shell Command Language, 2.2.2). */
export function quote(word: string): string {
  return harmless.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

/** Quotes words and joins them into a command. */
export function command(...parts: readonly string[]): string {
  return parts.map(quote).join(' ');
}
