import type { Modprobe } from '../../../api/module/modprobe.ts';
import { nonEmpty } from '../../../api/schema/resource.ts';
import type { Kernel } from '../../../builder/kernel.ts';

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

/** Environment variable: `load`, or `unload` for a loader that only cleans its node. */
export const modeVariable = 'KMM_LOADER_MODE';

/** How long a loader tries to unload what is in its way before it reports a failure. Seconds. */
const trySeconds = 20;

/** Returns the variables that tell `loaderProgram` its task. Lists are words quoted for a shell. */
export function loaderEnvironment(task: LoaderTask): Record<string, string> {
  const { modprobe, kernel, inTreeModulesToRemove, owner, firmwareSearchPath, unloadSeconds } = task;
  const { rawArgs, modulesLoadingOrder = [] } = modprobe;
  const firmware = nonEmpty(modprobe.firmwarePath);
  const settings = nonEmpty(modprobe.modprobedDir);
  return {
    KMM_RELEASE: kernel.release,
    // Raw arguments are left as they are.
    KMM_VERSION: rawArgs?.load !== undefined || kernel.version === kernel.release ? '' : kernel.version,
    KMM_MODULE: underscored(nonEmpty(modprobe.moduleName) ?? ''),
    KMM_DIRECTORY: trimmed(rawArgs?.load === undefined ? modprobe.dirName : directoryIn(rawArgs.load)),
    KMM_LOAD: command(...loadArguments(modprobe)),
    KMM_UNLOAD: command(...unloadArguments(modprobe)),
    KMM_ORDER: command(...modulesLoadingOrder.slice(1).map(underscored)),
    KMM_IN_TREE: command(...inTreeModulesToRemove),
    KMM_FIRMWARE: firmware === undefined ? '' : trimmed(`/${firmware}`),
    KMM_FIRMWARE_PATH: firmware === undefined ? '' : (firmwareSearchPath ?? ''),
    ...(settings === undefined ? {} : { KMM_SETTINGS: trimmed(settings) }),
    KMM_OWNER: owner,
    KMM_TRY_SECONDS: String(trySeconds),
    KMM_UNLOAD_SECONDS: String(unloadSeconds),
  };
}

/** Escapes a text in a container's command or variable: Kubernetes replaces `$(NAME)` there, and `$$` by `$`. */
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

function loadArguments({ rawArgs, args, dirName, moduleName, parameters }: Modprobe): readonly string[] {
  if (rawArgs?.load !== undefined) return rawArgs.load;
  return [...(args?.load ?? ['-v']), '-d', dirName, ...named(moduleName), ...(parameters ?? [])];
}

function unloadArguments(modprobe: Modprobe): readonly string[] {
  const { rawArgs, args, dirName, moduleName, modulesLoadingOrder: order = [] } = modprobe;
  if (rawArgs?.unload !== undefined) return rawArgs.unload;
  return [...(args?.unload ?? ['-rv']), '-d', dirName, ...(order.length > 0 ? order : named(moduleName))];
}

function named(moduleName: string | undefined): string[] {
  return nonEmpty(moduleName) === undefined ? [] : [moduleName ?? ''];
}

/** Returns the directory that arguments of modprobe name: `-d DIR`, also as `-vd DIR` or `-dDIR`, or `--dirname DIR`. */
function directoryIn(words: readonly string[]): string {
  for (const [index, word] of words.entries()) {
    const value = /^(?:-[^-CSd]*d|--dirname(?:=|$))(.*)$/s.exec(word)?.[1];
    if (value !== undefined) return (value === '' ? words[index + 1] : value) ?? '/';
  }
  return '/';
}

/** The kernel lists all names with underscores. */
function underscored(name: string): string {
  return name.replaceAll('-', '_');
}

function trimmed(directory: string): string {
  return directory.replaceAll(/\/{2,}/g, '/').replace(/(?<=.)\/$/, '');
}

/** Words of characters that are not special in a shell. */
const harmless = /^[A-Za-z0-9_@%+=:,./-]+$/;

/** Quotes a word for a POSIX shell, if necessary (POSIX.1-2017, Shell Command Language, 2.2.2). */
export function quote(word: string): string {
  return harmless.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

/** Quotes words and joins them into a command. */
function command(...parts: readonly string[]): string {
  return parts.map(quote).join(' ');
}
