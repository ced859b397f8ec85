import { type Digest, isDigest } from './digest.ts';
import { type JsonObject, checkSpelling, invalidManifest, isJsonObject } from './json.ts';
import type { Platform } from './platform.ts';

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

const descriptorFields = [
  'mediaType',
  'digest',
  'size',
  'annotations',
  'urls',
  'platform',
  'data',
  'artifactType',
];
const platformFields = ['os', 'architecture', 'variant', 'os.version', 'os.features', 'features'];

/** Parses a content descriptor. `what` names it in errors. @throws RegistryError INVALID_MANIFEST */
export function parseDescriptor(value: unknown, what: string): Descriptor {
  if (!isJsonObject(value)) throw invalidManifest(`${what} is not a descriptor`);
  checkSpelling(value, descriptorFields, what);
  const { mediaType, digest, size } = value;
  if (typeof mediaType !== 'string' || mediaType === '') throw invalidManifest(`${what} has no media type`);
  if (typeof digest !== 'string' || !isDigest(digest))
    throw invalidManifest(`${what} has no well-formed digest`);
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) {
    throw invalidManifest(`${what} has no valid size`);
  }
  const annotations = parseStringMap(value['annotations'], `the annotations of ${what}`);
  const urls = parseUrls(value['urls'], what);
  const artifactType = optionalString(value, 'artifactType', what);
  return {
    mediaType,
    digest,
    size,
    ...(annotations === undefined ? {} : { annotations }),
    ...(urls === undefined ? {} : { urls }),
    ...(artifactType ? { artifactType } : {}),
  };
}

/** Parses a descriptor of an index's child. @throws RegistryError INVALID_MANIFEST */
export function parseChildDescriptor(value: unknown, what: string): ChildDescriptor {
  const descriptor = parseDescriptor(value, what);
  const platform = isJsonObject(value) ? parsePlatformObject(value['platform'], what) : undefined;
  return platform === undefined ? descriptor : { ...descriptor, platform };
}

/**
 * Parses an object whose values are strings; undefined for null and absent.
 * @throws RegistryError INVALID_MANIFEST
 */
export function parseStringMap(value: unknown, what: string): Record<string, string> | undefined {
  if (value === undefined || value === null) return undefined;
  if (!isJsonObject(value)) throw invalidManifest(`${what} are not an object`);
  const entries: [string, string][] = [];
  for (const [name, text] of Object.entries(value)) {
    if (typeof text !== 'string') throw invalidManifest(`${what} contain a value that is not a string`);
    entries.push([name, text]);
  }
  return Object.fromEntries(entries);
}

/**
 * Reads a platform from the fields of a JSON object: `platform` of a descriptor, or an image configuration.
 * Undefined if it names neither an operating system nor an architecture.
 * @throws RegistryError INVALID_MANIFEST
 */
export function parsePlatformObject(value: unknown, what: string): Platform | undefined {
  if (value === undefined || value === null) return undefined;
  if (!isJsonObject(value)) throw invalidManifest(`the platform of ${what} is not an object`);
  checkSpelling(value, platformFields, `the platform of ${what}`);
  const os = optionalString(value, 'os', what) ?? '';
  const architecture = optionalString(value, 'architecture', what) ?? '';
  if (os === '' && architecture === '') return undefined;
  const variant = optionalString(value, 'variant', what);
  const osVersion = optionalString(value, 'os.version', what);
  return { os, architecture, ...(variant ? { variant } : {}), ...(osVersion ? { osVersion } : {}) };
}

function optionalString(json: JsonObject, field: string, what: string): string | undefined {
  const value = json[field];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'string') throw invalidManifest(`"${field}" of ${what} is not a string`);
  return value;
}

function parseUrls(value: unknown, what: string): string[] | undefined {
  if (value === undefined || value === null) return undefined;
  if (!Array.isArray(value)) throw invalidManifest(`the URLs of ${what} are not a list`);
  return value.map((url: unknown) => {
    if (typeof url !== 'string') throw invalidManifest(`a URL of ${what} is not a string`);
    return url;
  });
}
