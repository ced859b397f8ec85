import { isDigest } from './digest.ts';
import type { ChildDescriptor, Descriptor, JsonObject } from './manifest.ts';
import type { Platform } from './platform.ts';
import { checkSpelling, invalidManifest, isJsonObject } from './json.ts';

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
