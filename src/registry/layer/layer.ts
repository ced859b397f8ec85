import type { Digest } from '../model/digest.ts';

/** Limits that keep a hostile layer from using up the machine. */
export interface LayerLimits {
  /** Bytes of tar that one layer may unpack to. */
  readonly maxUncompressedBytes: number;
  /** Entries of one layer. */
  readonly maxEntries: number;
}

export const defaultLayerLimits: LayerLimits = {
  maxUncompressedBytes: 64 * 1024 ** 3,
  maxEntries: 2_000_000,
};

/** Which entry of an image. */
export interface LayerEntry {
  /** Position of the layer in the manifest, base = 0. */
  readonly layer: number;
  /** Position of the entry in the layer's tar. */
  readonly index: number;
  /** Cleaned, as in TarEntryHeader. */
  readonly path: string;
}

/** A layer blob that was written to a local file, complete and hashed. */
export interface WrittenLayer {
  readonly file: string;
  readonly digest: Digest;
  /** Bytes of the compressed blob. */
  readonly size: number;
  /** Digest of the uncompressed tar. */
  readonly diffId: Digest;
  /** Bytes of the uncompressed tar. */
  readonly uncompressedSize: number;
}
