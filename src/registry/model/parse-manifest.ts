import { digestOf } from './digest.ts';
import { RegistryError } from './errors.ts';
import {
  type Descriptor,
  type ImageIndex,
  type ImageManifest,
  type Manifest,
  type RawManifest,
  parseChildDescriptor,
  parseDescriptor,
  parseStringMap,
} from './manifest.ts';
import {
  dockerMediaTypes,
  familyOf,
  isImageManifestType,
  isIndexType,
  isSchema1Type,
  normalizeMediaType,
  ociMediaTypes,
} from './media-types.ts';
import { checkSpelling, invalidManifest, isJsonObject, parseJsonObject, type JsonObject } from './json.ts';

const fields = [
  'schemaVersion',
  'mediaType',
  'artifactType',
  'config',
  'layers',
  'manifests',
  'subject',
  'annotations',
  'fsLayers',
];

/** Generic content types, which web servers send for files of unknown type. */
const meaninglessTypes: ReadonlySet<string> = new Set([
  '',
  'application/json',
  'application/octet-stream',
  'binary/octet-stream',
  'text/plain',
]);

/** Wraps the bytes of a manifest that we built. */
export function createRawManifest(mediaType: string, bytes: Buffer): RawManifest {
  return { mediaType, digest: digestOf(bytes), bytes };
}

/**
 * Parses a manifest or index, OCI or Docker schema 2. `raw.mediaType` is what the registry called it (a
 * Content-Type, possibly empty); `raw.mediaType` of the result is its actual media type.
 * @throws RegistryError INVALID_MANIFEST, UNSUPPORTED_MEDIA_TYPE, LIMIT_EXCEEDED
 */
export function parseManifest(raw: RawManifest): Manifest {
  const what = `the manifest ${raw.digest}`;
  if (isSchema1Type(normalizeMediaType(raw.mediaType))) throw schema1(raw);
  const json = parseJsonObject(raw.bytes, what);
  checkSpelling(json, fields, what);
  checkSchemaVersion(json, raw);
  const mediaType = effectiveMediaType(json, raw);
  const typed = { ...raw, mediaType };
  return isIndexType(mediaType) ? parseIndex(json, typed) : parseImage(json, typed);
}

function parseIndex(json: JsonObject, raw: RawManifest): ImageIndex {
  const what = `the index ${raw.digest}`;
  refuseFields(json, ['config', 'layers', 'fsLayers'], what);
  return {
    kind: 'index',
    raw,
    family: familyOf(raw.mediaType) ?? 'oci',
    manifests: list(json, 'manifests', what).map((child, at) =>
      parseChildDescriptor(child, `entry ${at} of ${what}`),
    ),
    annotations: parseStringMap(json['annotations'], `the annotations of ${what}`) ?? {},
    json,
  };
}

function parseImage(json: JsonObject, raw: RawManifest): ImageManifest {
  const what = `the manifest ${raw.digest}`;
  refuseFields(json, ['manifests', 'fsLayers'], what);
  return {
    kind: 'image',
    raw,
    family: familyOf(raw.mediaType) ?? 'oci',
    config: parseDescriptor(json['config'], `the configuration of ${what}`),
    layers: list(json, 'layers', what).map((layer, at): Descriptor =>
      parseDescriptor(layer, `layer ${at} of ${what}`),
    ),
    annotations: parseStringMap(json['annotations'], `the annotations of ${what}`) ?? {},
    json,
  };
}

/** Reads a list; null counts as empty, since Go writes it for a nil slice. */
function list(json: JsonObject, field: string, what: string): unknown[] {
  const value = json[field];
  if (value === null) return [];
  if (!Array.isArray(value)) throw invalidManifest(`${what} has no list "${field}"`);
  return value;
}

/** Refuses a document that is an image to one reader and an index to another (CVE-2021-41190). */
function refuseFields(json: JsonObject, refused: readonly string[], what: string): void {
  const found = refused.find((field) => json[field] !== undefined);
  if (found !== undefined) throw invalidManifest(`${what} is ambiguous: it also has "${found}"`);
}

function checkSchemaVersion(json: JsonObject, raw: RawManifest): void {
  const { schemaVersion } = json;
  if (schemaVersion === 1) throw schema1(raw);
  if (schemaVersion !== undefined && schemaVersion !== 2) {
    throw invalidManifest(`the manifest ${raw.digest} has a schema version that is not 2`);
  }
}

/**
 * Determines the media type. Content-Type and body must not contradict each other; if neither states a type,
 * the structure decides.
 */
function effectiveMediaType(json: JsonObject, raw: RawManifest): string {
  const served = normalizeMediaType(raw.mediaType);
  const stated = json['mediaType'];
  if (stated !== undefined && typeof stated !== 'string') {
    throw invalidManifest(`the manifest ${raw.digest} has a media type that is not a string`);
  }
  const isServedType = !meaninglessTypes.has(served);
  if (stated && isServedType && normalizeMediaType(stated) !== served) {
    throw invalidManifest(
      `the manifest ${raw.digest} states the media type ${stated.slice(0, 100)}, but was served as ${served.slice(0, 100)}`,
    );
  }
  const mediaType = stated ? normalizeMediaType(stated) : isServedType ? served : inferMediaType(json, raw);
  if (isSchema1Type(mediaType)) throw schema1(raw);
  if (!isImageManifestType(mediaType) && !isIndexType(mediaType)) throw unsupported(mediaType, raw);
  return mediaType;
}

function inferMediaType(json: JsonObject, raw: RawManifest): string {
  if (json['manifests'] !== undefined) return ociMediaTypes.index;
  const { config } = json;
  if (json['layers'] === undefined || !isJsonObject(config)) {
    throw invalidManifest(`the document ${raw.digest} is neither a manifest nor an index`);
  }
  return config['mediaType'] === dockerMediaTypes.config ? dockerMediaTypes.manifest : ociMediaTypes.manifest;
}

function schema1(raw: RawManifest): RegistryError {
  return new RegistryError({
    code: 'UNSUPPORTED_MEDIA_TYPE',
    message: `the manifest ${raw.digest} is in Docker's obsolete schema 1`,
    hint: 'Pull the image with a current tool and push it again; that converts it to schema 2 or OCI.',
    facts: { digest: raw.digest },
  });
}

function unsupported(mediaType: string, raw: RawManifest): RegistryError {
  return new RegistryError({
    code: 'UNSUPPORTED_MEDIA_TYPE',
    message: `the manifest ${raw.digest} has the media type ${mediaType.slice(0, 100)}, which is not that of an image`,
    hint: 'Name an image or an image index.',
    facts: { digest: raw.digest },
  });
}
