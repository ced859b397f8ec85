/** Real kernel modules from Debian's kernel package, as a vendor would deliver them: without a signature. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

export interface ModuleFile {
  /** Path below the package's root, without a leading slash. */
  readonly path: string;
  /** Size in bytes, without the signature. */
  readonly size: number;
}

const marker = Buffer.from('~Module signature appended~\n');
const informationLength = 12;

/** A module's bytes without the signature that its distribution appended. */
export function withoutSignature(module: Buffer): Buffer {
  const end = module.length - marker.length;
  if (end < informationLength || !module.subarray(end).equals(marker)) return module;
  const signatureLength = module.readUInt32BE(end - 4);
  return module.subarray(0, end - informationLength - signatureLength);
}

/** All modules below `root`, the largest first. */
export async function listModules(root: string): Promise<ModuleFile[]> {
  const found: ModuleFile[] = [];
  for (const path of await readdir(root, { recursive: true })) {
    if (path.endsWith('.ko')) {
      found.push({ path, size: withoutSignature(await readFile(join(root, path))).length });
    }
  }
  return found.toSorted((a, b) => b.size - a.size || (a.path < b.path ? -1 : 1));
}

/**
 * `count` modules whose total comes closest to `bytes`: neighbours in size, or spread evenly over all sizes.
 */
export function pickModules(
  modules: readonly ModuleFile[],
  wanted: { readonly count: number; readonly bytes: number; readonly spread: boolean },
): ModuleFile[] {
  const stride = wanted.spread ? Math.floor(modules.length / wanted.count) : 1;
  const last = modules.length - (wanted.count - 1) * stride;
  if (stride < 1 || last < 1) throw new Error(`only ${modules.length} of ${wanted.count} modules are there`);
  let best: ModuleFile[] = [];
  let bestDistance = Number.POSITIVE_INFINITY;
  for (let start = 0; start < last; start += 1) {
    const picked = modules
      .slice(start, start + (wanted.count - 1) * stride + 1)
      .filter((_, index) => index % stride === 0);
    const distance = Math.abs(picked.reduce((sum, { size }) => sum + size, 0) - wanted.bytes);
    if (distance < bestDistance) {
      best = picked;
      bestDistance = distance;
    }
  }
  return best;
}
