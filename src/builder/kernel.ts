/** A kernel as reported by nodes. */
export interface Kernel {
  /** The output of `uname -r`, which names directories in /lib/modules. */
  readonly release: string;
  /**
   * The release without one trailing `+`, and with `_` for every character that an image tag may not contain.
   */
  readonly version: string;
}

/** Parses a node's `status.nodeInfo.kernelVersion`. */
export function parseKernel(release: string): Kernel {
  return { release, version: release.replace(/\+$/, '').replaceAll(/[^A-Za-z0-9._-]/gu, '_') };
}

/** The parts of a kernel's version that templates can use. A version may have fewer than three. */
export interface KernelComponents {
  readonly x: string;
  readonly y: string;
  readonly z: string;
  /** The first three parts, joined by dots. */
  readonly xyz: string;
}

/** Splits a version at dots, commas and dashes. Missing parts are empty. */
export function kernelComponents({ version }: Kernel): KernelComponents {
  const parts = version.split(/[.,-]/).slice(0, 3);
  const [x = '', y = '', z = ''] = parts;
  return { x, y, z, xyz: parts.join('.') };
}
