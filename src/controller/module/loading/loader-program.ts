import { readFileSync } from 'node:fs';
import { hostModulesDirectory } from '../../../builder/mounts.ts';

/** Directories of a module loader's container. */
export const loaderDirectories = {
  /** The module's image: an image volume, or what was copied of it. */
  image: '/module-image',
  /** The node's /lib/modules. */
  hostModules: hostModulesDirectory,
  /** The node's directory for firmware. */
  hostFirmware: '/host/firmware',
  /** The node's /sys/module; only where the kernel's search path for firmware is set. */
  hostSysModule: '/host/sys-module',
  /** Soft dependencies for modprobe, from an annotation of the pod. */
  modulesOrder: '/modules-order',
  /** What the loader remembers while it runs. */
  state: '/run/kmm-loader',
  /** The programs that copy the image; only where it is copied. */
  tools: '/kmm-tools',
} as const;

/** The file in `modulesOrder`. */
export const modulesOrderFile = 'softdep.conf';

/** Exists as a directory while the module is in the kernel; when unloading, once it is not. */
export const readyDirectory = `${loaderDirectories.state}/ready`;

/** They never change: what a Module says comes in variables and arguments. */
export const loaderProgram: string = shellProgram(new URL('loader.sh', import.meta.url));
export const copyProgram: string = shellProgram(new URL('copy-image.sh', import.meta.url));

/**
 * Reads a pod's program for a POSIX shell, without comments and indentation, since each pod holds a copy. The file is beside
 * the caller's source, and the build puts it beside the bundle.
 */
export function shellProgram(file: URL): string {
  return readFileSync(file, 'utf8')
    .split('\n')
    .map((line) => line.trimStart())
    .filter((line) => line !== '' && !line.startsWith('#'))
    .join('\n');
}
