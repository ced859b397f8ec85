import { certificates } from './certificates.ts';
import { encodings } from './encodings.ts';
import { fields } from './fields.ts';
import type { VariantKeys } from './keys.ts';
import { keysOfOtherKinds, severalSigners, wellFormed } from './signers.ts';
import { objects, trailers } from './trailers.ts';

/** A module with a signature of some form, by its name. */
export type Variants = ReadonlyMap<string, Buffer>;

/** Writes a module with signatures of every form that a parser may take another way than it is meant. */
export function makeVariants(module: Buffer, keys: VariantKeys): Variants {
  return new Map([
    ...wellFormed(module, keys),
    ...severalSigners(module, keys),
    ...certificates(module, keys),
    ...fields(module, keys),
    ...encodings(module, keys),
    ...trailers(module, keys),
    ...objects(module, keys),
    ...keysOfOtherKinds(module, keys),
  ]);
}
