/** A kernel as nodes report it. */
export interface Kernel {
  /** What `uname -r` prints: the name of directories in /lib/modules. */
  readonly release: string;
  /** The release without one trailing `+`, every character that an image tag may not have replaced by `_`. */
  readonly version: string;
}

/** Reads a node's `status.nodeInfo.kernelVersion`. */
export function parseKernel(release: string): Kernel {
  return { release, version: release.replace(/\+$/, '').replaceAll(/[^A-Za-z0-9._-]/gu, '_') };
}

/** The parts of a kernel's version that templates know. A version may have fewer than three. */
export interface KernelComponents {
  readonly x: string;
  readonly y: string;
  readonly z: string;
  /** The first three parts, joined by dots. */
  readonly xyz: string;
}

/** Splits a version at dots, commas and dashes. Parts that are not there are empty. */
export function kernelComponents({ version }: Kernel): KernelComponents {
  const parts = version.split(/[.,-]/).slice(0, 3);
  const [x = '', y = '', z = ''] = parts;
  return { x, y, z, xyz: parts.join('.') };
}
