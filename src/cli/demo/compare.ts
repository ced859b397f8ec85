import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Descriptor } from '../../registry/model/manifest.ts';
import { extractModules } from '../../signer/extract-image.ts';
import type { ImageLocation } from '../../signer/image/read/platform-images.ts';

/** The text that ends a signed module (kernel, include/linux/module_signature.h). */
const signatureMarker = '~Module signature appended~\n';

/** A layer before and after. */
export interface LayerComparison {
  readonly from: string;
  readonly to: string;
  readonly same: boolean;
  /** Size of the new blob in bytes. */
  readonly size: number;
}

/** The module before and after. */
export interface ModuleComparison {
  readonly sizeBefore: number;
  readonly sizeAfter: number;
}

/** Compares layers; only the last, which contains the module, may have changed. */
export function compareLayers(
  before: readonly Descriptor[],
  after: readonly Descriptor[],
): LayerComparison[] {
  requireClaim(before.length === after.length, 'the image has as many layers as before');
  return after.map(({ digest, size }, at) => {
    const from = before[at]?.digest ?? '';
    const same = from === digest;
    requireClaim(same === at < after.length - 1, `layer ${at + 1} is ${same ? 'changed' : 'the same'}`);
    return { from, to: digest, same, size };
  });
}

/** Extracts the module from the signed image: it must be the original followed by a signature. */
export async function compareModules(
  image: ImageLocation,
  original: Buffer,
  directory: string,
  signal: AbortSignal,
): Promise<ModuleComparison> {
  const { files } = await extractModules({ image, directory: join(directory, 'extracted'), signal });
  const signed = await readFile(files[0]?.target ?? '');
  requireClaim(signed.subarray(0, original.length).equals(original), "the module's own bytes are unchanged");
  requireClaim(signed.toString('latin1').endsWith(signatureMarker), 'the module ends with a signature');
  return { sizeBefore: original.length, sizeAfter: signed.length };
}

/** Fails the demonstration unless a claim is true. */
export function requireClaim(condition: boolean, claim: string): void {
  if (!condition) throw claimError(claim);
}

/** Builds the error for a false claim of the demonstration. */
export function claimError(claim: string): Error {
  return new Error(`The demonstration failed: it is not true that ${claim}`);
}
