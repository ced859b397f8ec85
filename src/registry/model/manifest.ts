import type { Digest } from './digest.ts';
import type { Platform } from './platform.ts';

/** Any JSON object, including unknown fields. */
export type JsonObject = { [field: string]: unknown };

/**
 * A content descriptor (image-spec, descriptor.md). Unknown fields are kept in the raw JSON of the document
 * that contains it.
 */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
  readonly annotations?: Readonly<Record<string, string>>;
  /** Undefined if the descriptor does not state one. */
  readonly artifactType?: string;
  /** Where a non-distributable layer may be fetched from. */
  readonly urls?: readonly string[];
}

/** A descriptor of an index's child. */
export interface ChildDescriptor extends Descriptor {
  readonly platform?: Platform;
}

/** The exact bytes as stored, with the digest that we computed over them. */
export interface RawManifest {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly bytes: Buffer;
}

/** Which family of media types a manifest belongs to. The families must never be mixed in one image. */
export type ManifestFamily = 'oci' | 'docker';

/** One image for one platform. */
export interface ImageManifest {
  readonly kind: 'image';
  readonly raw: RawManifest;
  readonly family: ManifestFamily;
  readonly config: Descriptor;
  /** Base first, as stored. */
  readonly layers: readonly Descriptor[];
  readonly annotations: Readonly<Record<string, string>>;
  /** The parsed JSON, for rewriting with all unknown fields kept. Must not be modified in place. */
  readonly json: JsonObject;
}

/** An image index or manifest list. Children may be indexes themselves. */
export interface ImageIndex {
  readonly kind: 'index';
  readonly raw: RawManifest;
  readonly family: ManifestFamily;
  readonly manifests: readonly ChildDescriptor[];
  readonly annotations: Readonly<Record<string, string>>;
  readonly json: JsonObject;
}

export type Manifest = ImageManifest | ImageIndex;
