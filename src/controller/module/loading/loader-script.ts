import type { Modprobe } from '../../../api/module/modprobe.ts';
import { nonEmpty } from '../../../api/schema/resource.ts';
import type { Kernel } from '../../../builder/kernel.ts';
import { loaderDirectories, loaderProgram } from './loader-program.ts';

/** What a module loader is to do, in words of a Module and of the operator's configuration. */
export interface LoaderTask {
  readonly modprobe: Modprobe;
  readonly kernel: Kernel;
  readonly inTreeModulesToRemove: readonly string[];
  /** Distinguishes the Module from others on the node that set the kernel's search path for firmware. */
  readonly owner: string;
  /** The node's directory for firmware, if the kernel's search path is set to it. */
  readonly firmwareSearchPath?: string | undefined;
  /** How long unloading is tried when the pod ends. Seconds. */
  readonly unloadSeconds: number;
}

/** How long a loader tries to unload what is in its way before it reports a failure. Seconds. */
const trySeconds = 20;

/** Returns the module loader's shell script. What comes from the Module is quoted in it. */
export function loaderScript(task: LoaderTask): string {
  const { modprobe, kernel, inTreeModulesToRemove, unloadSeconds } = task;
  const order = modprobe.modulesLoadingOrder ?? [];
  const directory = trimmed(modprobe.dirName);
  return [
    `release=${quote(kernel.release)}`,
    `wanted=${quote(underscored(nonEmpty(modprobe.moduleName) ?? ''))}`,
    // Where the image's own modules are in the place of the node's, they come first.
    `image_first=${directory === '/' || directory === '/usr' ? 'yes' : 'no'}`,
    `unload_seconds=${unloadSeconds}`,
    `try_seconds=${trySeconds}`,
    shellFunction('load', [modprobeLoad(task)]),
    shellFunction('depends', [modprobeLoad(task, ['--show-depends'])]),
    shellFunction('unload', [modprobeUnload(task)]),
    shellFunction('loaded_ones', [
      `for one in ${words('"$module"', command(...order.slice(1).map(underscored)))}; do`,
      '  if [ -n "$one" ] && [ -d "/sys/module/$one" ]; then printf "%s " "$one"; fi',
      'done',
    ]),
    shellFunction('remove_in_tree', inTreeModulesToRemove.map(unloadInTree)),
    ...firmwareFunctions(task),
    loaderProgram,
  ].join('\n');
}

/** Escapes a text in a container's command: Kubernetes replaces `$(NAME)` there, and `$$` by `$`. */
export function escapeReferences(text: string): string {
  return text.replaceAll(/\$(?=[$(])/g, '$$$$');
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

function firmwareFunctions({ modprobe, firmwareSearchPath, owner }: LoaderTask): string[] {
  const firmware = nonEmpty(modprobe.firmwarePath);
  if (firmware === undefined) {
    return ['copy_firmware', 'remove_firmware', 'restore_firmware_path'].map((name) =>
      shellFunction(name, []),
    );
  }
  const source = quote(`${loaderDirectories.image}${trimmed(`/${firmware}`)}`);
  const host = loaderDirectories.hostFirmware;
  const path = `${loaderDirectories.hostSysModule}/firmware_class/parameters/path`;
  // Files beside the firmware: the value to restore, and one for each Module that relies on ours.
  const notes = `${host}/.kmm-firmware-path`;
  const set = [
    `mkdir -p ${notes} || return`,
    `value=$(cat ${path})`,
    `if [ "$value" != ${quote(firmwareSearchPath ?? '')} ]; then`,
    `  printf %s "$value" >${notes}/.before`,
    // The zero byte makes the value empty if there was none: nothing would be written otherwise.
    `  printf "%s\\000" ${quote(firmwareSearchPath ?? '')} >${path} || return`,
    'fi',
    `: >${notes}/${quote(owner)}`,
  ];
  const restore = [
    `rm -f ${notes}/${quote(owner)}`,
    `[ -z "$(ls ${notes} 2>/dev/null)" ] || return 0`,
    `if [ "$(cat ${path})" = ${quote(firmwareSearchPath ?? '')} ]; then`,
    `  printf "%s\\000" "$(cat ${notes}/.before 2>/dev/null)" >${path}`,
    'fi',
    `rm -rf ${notes}`,
  ];
  return [
    shellFunction('copy_firmware', [
      `cp -r ${source}/. ${host}/ || return`,
      ...(firmwareSearchPath === undefined ? [] : set),
    ]),
    shellFunction('remove_firmware', [
      `(cd ${source} &&`,
      `  find . ! -type d -exec rm -f ${host}/{} \\; &&`,
      `  find . -mindepth 1 -depth -type d -exec rmdir ${host}/{} \\;) 2>/dev/null`,
      ':',
    ]),
    shellFunction('restore_firmware_path', firmwareSearchPath === undefined ? [] : restore),
  ];
}

/** Returns the commands to unload an in-tree module, if it is loaded. */
function unloadInTree(name: string): string {
  const modprobe = command('modprobe', '-rv', '-d', '/host', name);
  return `if [ -d ${quote(`/sys/module/${underscored(name)}`)} ]; then ${modprobe} || ${command('rmmod', name)} || return; fi`;
}

function modprobeLoad({ modprobe, kernel }: LoaderTask, options: readonly string[] = []): string {
  if (modprobe.rawArgs?.load !== undefined) return command('modprobe', ...options, ...modprobe.rawArgs.load);
  return words(
    command('modprobe', ...options),
    release(modprobe, kernel),
    command(...(modprobe.args?.load ?? ['-v'])),
    command('-d', modprobe.dirName),
    command(nonEmpty(modprobe.moduleName) ?? ''),
    command(...(modprobe.parameters ?? [])),
  );
}

function modprobeUnload({ modprobe, kernel }: LoaderTask): string {
  if (modprobe.rawArgs?.unload !== undefined) return command('modprobe', ...modprobe.rawArgs.unload);
  const order = modprobe.modulesLoadingOrder ?? [];
  return words(
    'modprobe',
    release(modprobe, kernel),
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
function release({ dirName }: Modprobe, kernel: Kernel): string {
  if (kernel.release === kernel.version) return '';
  const directory = quote(`${trimmed(dirName)}/lib/modules/${kernel.release}`);
  return `$([ -d ${directory} ] || echo -S ${quote(kernel.version)})`;
}

function shellFunction(name: string, body: readonly string[]): string {
  return `${name}() {\n${(body.length === 0 ? [':'] : body).map((line) => `  ${line}`).join('\n')}\n}`;
}

/** The kernel lists all names with underscores. */
function underscored(name: string): string {
  return name.replaceAll('-', '_');
}

function trimmed(directory: string): string {
  return directory.replaceAll(/\/{2,}/g, '/').replace(/(?<=.)\/$/, '');
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
