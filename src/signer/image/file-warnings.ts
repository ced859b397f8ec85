import type { ModuleReport } from '../model/report.ts';

/** Of a file with the name of a module that was found, and is none. */
export function passedOverWarning(path: string): string {
  return `${path} was passed over: it is not an ELF file, so no kernel loads it as a module`;
}

/** Of an ELF file that is judged and signed like a module, though it can be none. */
export function otherKindWarning(path: string): string {
  return `${path} has the name of a module, but is an ELF file that no kernel loads: it is not relocatable`;
}

/** Of modules that some kernels load and others do not. */
export function kernelWarnings(modules: readonly ModuleReport[]): string[] {
  const elliptic = modules.filter(
    ({ state, signature }) => state === 'trusted' && signature?.keyAlgorithm === 'ecdsa',
  );
  const [first] = elliptic;
  if (first === undefined) return [];
  const others = elliptic.length > 1 ? ` and ${elliptic.length - 1} more` : '';
  return [
    `${first.path}${others}: signed with ECDSA, which only kernels from 5.14 on that are built with CONFIG_CRYPTO_ECDSA load (not those of Debian 12 and RHEL 8)`,
  ];
}
